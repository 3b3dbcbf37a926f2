/**
 * The right to write to a store that other machines reach too, for a time, and its renewal.
 *
 * We count from the moment at which we asked, and stop a margin before the store would let somebody else in: so it is
 * never counted longer here than there. Requests wait while it is late, as for a server that went away, and end in EIO
 * after the grace time. A renewal that comes after all makes them go on, if the program can tell that nobody else had
 * the lease in between. Once somebody had it, it is lost until the volume is opened again: what we know of the store
 * is out of date.
 *
 * What is on its way to the store when the time is over is not ours to call back: `fence` of the next owner refuses it.
 */
import { type Deferred, deferred } from "../base/deferred.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { bootClock, type Clock } from "./clock.ts"
import { describeOwner, type LeaseProgram, type Outcome } from "./program.ts"

export interface LeaseOptions {
  /** How long the store keeps it for us after each renewal. */
  readonly seconds: number
  /** How long requests wait when it is late; default 30 s. */
  readonly graceMs?: number
  readonly clock?: Clock
  readonly log?: (message: string, facts: Record<string, unknown>) => void
}

export interface LeaseStatus {
  readonly name: string
  readonly owner: string
  /** "late": requests wait. "expired": they end in EIO, until it is renewed. "lost": until the volume is opened again. */
  readonly state: "held" | "late" | "expired" | "lost"
  /** Until requests stop, unless renewed. */
  readonly seconds: number
  /** Why it is not held, or why the last renewal failed. */
  readonly reason: string | null
}

/** Of the lease's time. */
const MARGIN = 1 / 6
const RENEWAL = 1 / 6
const RETRY = 1 / 12
const LIMIT = 1 / 3

export class Lease {
  readonly #program: LeaseProgram
  readonly #clock: Clock
  readonly #ms: number
  readonly #graceMs: number
  readonly #log: NonNullable<LeaseOptions["log"]>
  readonly #listeners = new Set<() => void>()
  readonly #ended = deferred<void>()
  #until: number
  /** Settles with the next renewal; `null`: it is not late. */
  #late: Deferred<void> | null = null
  /** Late for longer than the grace time. */
  #expired: IoError | null = null
  #lost: IoError | null = null
  #reason: string | null = null
  #released = false
  /** Of the renewal under way. */
  #renewing: Promise<void> = Promise.resolve()
  #cancelRenewal = () => {}
  #cancelWatch = () => {}
  #cancelGrace = () => {}

  private constructor(program: LeaseProgram, asked: number, options: LeaseOptions) {
    this.#program = program
    this.#clock = options.clock ?? bootClock
    this.#ms = options.seconds * 1000
    this.#graceMs = options.graceMs ?? 30_000
    this.#log = options.log ?? (() => {})
    this.#until = asked + this.#ms * (1 - MARGIN)
    this.#watch()
    this.#renewAfter(asked + this.#ms * RENEWAL - this.#clock.now())
  }

  /**
   * Before the store is opened: fencing refuses whoever had it open before. Throws TresorError LEASE_HELD (exit 5),
   * LEASE_FAILED (exit 4). `store`: for messages.
   */
  static async take(program: LeaseProgram, store: string, options: LeaseOptions): Promise<Lease> {
    const clock = options.clock ?? bootClock
    const asked = clock.now()
    // What comes later would be of no use.
    const limitMs = options.seconds * 1000 * (1 - MARGIN)
    const acquired = await program.run("acquire", limitMs)
    if (acquired.kind === "other") throw held(program, store, acquired)
    if (acquired.kind === "failed") {
      // It may have got it all the same.
      await program.run("release", options.seconds * 1000 * LIMIT)
      throw failed(program, store, acquired.reason)
    }
    const lease = new Lease(program, asked, options)
    const fenced = await program.run("fence", limitMs)
    const reason = fenced.kind === "failed" ? `fence: ${fenced.reason}` : (lease.refusal?.message ?? null)
    if (fenced.kind === "done" && reason === null) {
      if (fenced.said !== "")
        lease.#log("fenced the last owner of the store", {
          lease: program.name,
          said: fenced.said.split("\n").join("; "),
        })
      return lease
    }
    await lease.release(true)
    throw failed(program, store, reason ?? "fence failed")
  }

  /**
   * Of another process, by the same owner, which goes on renewing it until it has left: so there is no moment in which
   * somebody else could take it. Throws as `take`.
   */
  static async inherit(program: LeaseProgram, store: string, options: LeaseOptions): Promise<Lease> {
    const clock = options.clock ?? bootClock
    const asked = clock.now()
    const renewed = await program.run("renew", options.seconds * 1000 * LIMIT)
    if (renewed.kind === "other") throw held(program, store, renewed)
    if (renewed.kind === "failed") throw failed(program, store, renewed.reason)
    return new Lease(program, asked, options)
  }

  /** `null`: the store may be written to now. Nothing may be awaited between this and the sending. */
  get refusal(): IoError | null {
    if (this.#lost !== null) return this.#lost
    if (this.#released) return new IoError("ESHUTDOWN", `the lease ${this.#program.name} was given back`)
    if (this.#clock.now() < this.#until) return null
    this.#lapse()
    return this.#expired ?? this.#notRenewed()
  }

  /** Resolves when there may be no refusal any more; rejects with IoError when a request should not wait for that. */
  regained(): Promise<void> {
    const refusal = this.refusal
    if (refusal === null) return Promise.resolve()
    if (this.#late === null || this.#expired !== null) return Promise.reject(refusal)
    return this.#late.promise
  }

  /** Resolves when it is lost for good, or was given back. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get status(): LeaseStatus {
    const refused = this.refusal !== null
    return {
      name: this.#program.name,
      owner: this.#program.owner,
      state: !refused ? "held" : this.#lost !== null ? "lost" : this.#expired !== null ? "expired" : "late",
      seconds: refused ? 0 : Math.floor((this.#until - this.#clock.now()) / 1000),
      reason: this.#lost?.message ?? this.#reason,
    }
  }

  /** Called at each change of state; returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /**
   * Gives it back. Not `clean`: requests may still be on their way, so it is left to expire, and the next owner fences.
   * Never rejects: what is not given back expires.
   */
  async release(clean: boolean): Promise<void> {
    if (this.#released) return
    await this.leave()
    if (!clean || this.#lost !== null) return
    const outcome = await this.#program.run("release", this.#ms * LIMIT)
    if (outcome.kind === "failed") {
      this.#log("the lease was not given back and expires", { lease: this.#program.name, reason: outcome.reason })
    }
  }

  /** It is another process's, which goes on as the same owner. Resolves when nothing of ours renews it. */
  async leave(): Promise<void> {
    this.#released = true
    this.#stop()
    this.#late?.reject(new IoError("ESHUTDOWN", "the store is closed"))
    this.#ended.resolve()
    await this.#renewing
  }

  #stop(): void {
    this.#cancelRenewal()
    this.#cancelWatch()
    this.#cancelGrace()
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  /** Notices the end of the time when nobody asks. */
  #watch(): void {
    this.#cancelWatch()
    this.#cancelWatch = this.#clock.after(Math.max(0, this.#until - this.#clock.now()), () => {
      if (this.refusal === null) this.#watch()
    })
  }

  #notRenewed(): IoError {
    const why = this.#reason === null ? "" : ` (${this.#reason})`
    return new IoError("EIO", `the lease ${this.#program.name} was not renewed in time${why}; look at its store`)
  }

  #lapse(): void {
    if (this.#late !== null) return
    this.#late = deferred()
    this.#log("the lease is late: requests wait", { lease: this.#program.name, reason: this.#reason })
    this.#cancelGrace = this.#clock.after(this.#graceMs, () => {
      this.#expired = this.#notRenewed()
      this.#late?.reject(this.#expired)
      this.#log("the lease is late: requests end in EIO", { lease: this.#program.name, reason: this.#reason })
      this.#changed()
    })
    this.#changed()
  }

  #renewAfter(ms: number): void {
    this.#cancelRenewal = this.#clock.after(Math.max(0, ms), () => {
      this.#renewing = this.#renew()
    })
  }

  async #renew(): Promise<void> {
    const asked = this.#clock.now()
    const outcome = await this.#program.run("renew", this.#ms * LIMIT)
    if (this.#released) return
    if (outcome.kind === "other") return this.#lose(outcome)
    if (outcome.kind === "failed") {
      if (this.#reason === null) {
        this.#log("the lease was not renewed", { lease: this.#program.name, reason: outcome.reason })
      }
      this.#reason = outcome.reason
      return this.#renewAfter(this.#ms * RETRY)
    }
    this.#renewed(asked)
  }

  #renewed(asked: number): void {
    this.#reason = null
    this.#until = asked + this.#ms * (1 - MARGIN)
    this.#renewAfter(asked + this.#ms * RENEWAL - this.#clock.now())
    this.#watch()
    const late = this.#late
    // It took so long that the time is over again.
    if (late === null || this.#clock.now() >= this.#until) return
    this.#cancelGrace()
    this.#late = null
    this.#expired = null
    this.#log("the lease is held again", { lease: this.#program.name })
    late.resolve()
    this.#changed()
  }

  #lose(outcome: Extract<Outcome, { kind: "other" }>): void {
    this.#stop()
    const who = outcome.owner === null ? "another owner" : describeOwner(outcome.owner)
    this.#lost = new IoError(
      "EIO",
      `the lease ${this.#program.name} was lost to ${who}; close the volume here, and open it again when it is free`,
    )
    this.#log("the lease is lost", { lease: this.#program.name, reason: this.#lost.message })
    this.#late?.reject(this.#lost)
    this.#ended.resolve()
    this.#changed()
  }
}

function held(
  program: LeaseProgram,
  store: string,
  { owner, seconds }: Extract<Outcome, { kind: "other" }>,
): TresorError {
  const who = owner === null ? "another owner" : describeOwner(owner)
  const until = seconds === null ? "" : `, for ${seconds} s more unless renewed`
  return new TresorError(
    "LEASE_HELD",
    Exit.busy,
    `Cannot open ${store}: ${who} has the lease ${program.name}${until}; ` +
      "close the volume there, or wait until the lease of a dead host has expired",
  )
}

function failed(program: LeaseProgram, store: string, reason: string): TresorError {
  return new TresorError(
    "LEASE_FAILED",
    Exit.wrongDevice,
    `Cannot open ${store}: the lease ${program.name} cannot be taken: ${reason}`,
  )
}
