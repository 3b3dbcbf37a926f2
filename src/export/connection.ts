/**
 * One client: its socket, its turns and its end. intake.ts takes requests in and
 * moves whole sectors at once; everything else is served side by side, each request
 * on its own. What a request holds in memory is taken from the shared budget first,
 * and given back when its reply has left; so a client that asks and does not read
 * waits, and holds little.
 */
import { getSystemErrorMap } from "node:util"
import type { Budget } from "../base/budget.ts"
import { asIoError, IoError } from "../base/io-error.ts"
import { READABLE, WRITABLE } from "../native/channel.ts"
import { Command, Transmission } from "../nbd/protocol.ts"
import type { Volume } from "../volume/volume.ts"
import { Admission } from "./admission.ts"
import { BusyWait } from "./busy-wait.ts"
import { Channel } from "./channel.ts"
import { finished, moved, type State, saidGoodbye, takesRequests } from "./connection-state.ts"
import { type Negotiated, negotiate } from "./handshake.ts"
import { Intake, type Stop } from "./intake.ts"
import { Reads } from "./reads.ts"
import { Replies } from "./replies.ts"
import type { Request } from "./request.ts"
import { answer, refusal } from "./serve.ts"
import { TransferredReads } from "./transferred-reads.ts"
import { TransferredWrites } from "./transferred-writes.ts"
import { type MovesWrites, Writes } from "./writes.ts"

/** Then others have their turn. */
const ROUNDS = 16
/** Replies may be kept back so long, and so many bytes of them. */
const KEPT_ROUNDS = 4
const KEPT_BYTES = 4096

export interface ConnectionOptions {
  readonly volume: Volume
  readonly budget: Budget
  /** Bytes one connection may have in work now; a larger single request runs alone. */
  readonly share: () => number
  readonly stallMs: number
  readonly attention: Attention
  /** Begun by another process. */
  readonly held?: HeldConnection
}

/** A connection between two requests, for another process to go on with. */
export interface HeldConnection {
  readonly fd: number
  readonly negotiated: Negotiated
  /** Input that was received and not looked at. */
  readonly input: Uint8Array
}

/** What the connections of a server share: only one client that is alone is waited for without sleeping. */
export interface Attention {
  /** There is a CPU for a client beside ours. */
  readonly possible: boolean
  /** Who was heard last. */
  last: Connection | null
}

/** What the disk refused after it was begun. */
function diskError(errno: number): IoError {
  const [code, words] = getSystemErrorMap().get(-errno) ?? ["EIO", `error ${errno}`]
  return asIoError(Object.assign(new Error(`the store refused a write: ${words}`), { code }))
}

const CLOSING = new IoError("ESHUTDOWN", "the volume is being closed")

export class Connection {
  readonly #channel: Channel
  readonly #volume: Volume
  readonly #admission: Admission
  readonly #stallMs: number
  readonly #attention: Attention
  readonly #busyWait = new BusyWait()
  readonly #closed = new AbortController()
  #negotiated: Negotiated = { structured: false, allocation: false }
  #state: State = "greeting"
  /** No request is begun, until `release`. */
  #held = false
  readonly #begun: HeldConnection | null
  /** When what has begun stops at its next step; with one, no request is begun any more. */
  #expiry = Number.POSITIVE_INFINITY
  #progress: (() => void)[] = []
  /** When the client was last heard. */
  #heard = performance.now()

  readonly #reads: Reads
  readonly #transferred: TransferredReads
  /** What transfers have brought is looked at once, after the last of a batch. */
  #progressing = false
  readonly #writes: MovesWrites
  readonly #replies: Replies
  readonly #intake: Intake

  /** `fd` is duplicated. */
  constructor(fd: number, { volume, budget, share, stallMs, attention, held }: ConnectionOptions) {
    this.#begun = held ?? null
    this.#volume = volume
    this.#stallMs = stallMs
    this.#attention = attention
    this.#channel = new Channel(fd, (events) => this.#onEvent(events))
    this.#admission = new Admission(budget, share, this.#closed.signal, () => this.#pump())
    this.#transferred = new TransferredReads(volume, this.#channel, share, {
      left: (rest, of) => {
        this.#reads.forget(of)
        this.#intake.leave(rest)
      },
      progress: () => this.#progressSoon(),
    })
    this.#reads = new Reads(volume, this.#channel, budget, this.#transferred)
    this.#writes = volume.direct
      ? new TransferredWrites(volume, this.#channel, share, {
          ended: (request, error) => this.#intake.ended(request, error),
          progress: () => this.#progressSoon(),
        })
      : new Writes(volume, this.#channel)
    this.#replies = new Replies(this.#channel)
    this.#intake = new Intake({
      channel: this.#channel,
      volume,
      admission: this.#admission,
      replies: this.#replies,
      reads: this.#reads,
      writes: this.#writes,
      service: {
        serve: (request, payload) => this.#serve(request, payload),
        refuse: (request) => void this.#reply(refusal(request, this.#negotiated, CLOSING)),
        fail: (request, errno) => void this.#reply(refusal(request, this.#negotiated, diskError(errno))),
        left: (cost) => {
          this.#admission.leave(cost)
          this.#wake()
        },
      },
    })
  }

  /** Resolves when the connection has ended. Called once. */
  async run(): Promise<void> {
    const channel = this.#channel
    try {
      const wire = { read: (length: number) => this.#read(length), write: (bytes: Uint8Array) => this.#reply([bytes]) }
      if (this.#begun !== null) channel.preload(this.#begun.input)
      this.#arm()
      const negotiated =
        this.#begun?.negotiated ?? (await this.#within(this.#stallMs, () => negotiate(wire, this.#description())))
      if (negotiated !== null && this.#state === "greeting") {
        this.#negotiated = negotiated
        this.#transferred.begin(negotiated.structured)
        this.#intake.begin(negotiated.structured)
        this.#state = moved(this.#state, "serving")
        this.#pump()
        while (takesRequests(this.#state)) await this.#wait()
      }
      this.#state = finished(this.#state)
      const working = () => this.#admission.requests > 0 || this.#transferred.underWay || this.#writes.underWay
      while (working() && !channel.closed) await this.#wait()
      // A client that does not take its answers is not waited for.
      await this.#within(this.#stallMs, async () => {
        while ((this.#owes() || this.#transferred.waiting) && !channel.closed) await this.#wait()
      })
    } finally {
      this.cut()
    }
  }

  /**
   * Begins no more requests: they are answered with ESHUTDOWN. What has begun may
   * take half of `graceMs`, everything together all of it; then `run` resolves.
   */
  close(graceMs: number): void {
    if (this.#closing) return
    this.#expiry = performance.now() + graceMs / 2
    const end = setTimeout(() => this.cut(), graceMs)
    this.#closed.signal.addEventListener("abort", () => clearTimeout(end))
    if (takesRequests(this.#state)) this.#pump()
    else this.#wake()
  }

  /**
   * Begins no more requests until `release`, and resolves when those that have begun are answered; the client notices
   * nothing. `null`: the connection has ended, as one does that has not chosen its export in time.
   */
  async hold(): Promise<HeldConnection | null> {
    this.#held = true
    if (takesRequests(this.#state)) this.#pump()
    while (!this.still) {
      if (this.#closed.signal.aborted || !this.#held) return null
      await this.#wait()
    }
    this.#intake.release()
    this.#arm()
    const { descriptor: fd, bytes, start, length } = this.#channel
    return { fd, negotiated: this.#negotiated, input: Buffer.from(bytes.subarray(start, start + length)) }
  }

  /** Whether it does nothing, as `hold` asked for. */
  get still(): boolean {
    if (!this.#held || this.#state !== "serving" || this.#channel.closed || !this.#intake.idle) return false
    const working = this.#admission.requests > 0 || this.#transferred.underWay || this.#writes.underWay
    return !working && !this.#admission.awaited && !this.#transferred.waiting && !this.#owes()
  }

  /** Serves on after `hold`. */
  release(): void {
    this.#held = false
    this.#wake()
    if (takesRequests(this.#state)) this.#pump()
    this.#arm()
  }

  get #closing(): boolean {
    return this.#expiry !== Number.POSITIVE_INFINITY
  }

  /** Whether the client has left replies lying, or a request it holds memory for incomplete, for `ms`. */
  stuck(ms: number): boolean {
    const now = performance.now()
    return (this.#owes() && now - this.#channel.moved >= ms) || (this.#intake.halfway && now - this.#heard >= ms)
  }

  /** Gives back what is held for a payload that has not begun to come. */
  relax(): void {
    if (this.#channel.length === 0 && !this.#admission.awaited) this.#intake.release()
  }

  /** Called now and then: gives idle memory back. A client may be silent, in the middle of a request too. */
  check(): void {
    this.relax()
    this.#channel.rest()
  }

  cut(): void {
    this.#channel.close()
    this.#ended()
  }

  /** After the channel has closed. */
  #ended(): void {
    if (this.#closed.signal.aborted) return
    this.#closed.abort()
    this.#reads.release()
    this.#admission.release()
    this.#intake.abandon()
    this.#replies.drop()
    this.#transferred.drop()
    this.#state = finished(this.#state)
    this.#wake()
  }

  /** Cuts the peer off when `body` takes longer. */
  async #within<T>(ms: number, body: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.cut(), ms)
    try {
      return await body()
    } finally {
      clearTimeout(timer)
    }
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => this.#progress.push(resolve))
  }

  #wake(): void {
    for (const wake of this.#progress.splice(0)) wake()
  }

  #description() {
    const { size, sectorSize, readOnly, discards } = this.#volume
    const { hasFlags, flush, fua, multiConn, cache, writeZeroes, trim, df } = Transmission
    // Every connection sees what another has written, and a flush on one covers them all: multiConn.
    const always = hasFlags | flush | multiConn | cache
    const changes = readOnly ? Transmission.readOnly : fua | writeZeroes | (discards ? trim : 0)
    return {
      size,
      preferredBlock: Math.max(4096, sectorSize),
      flags: (structured: boolean) => always | changes | (structured ? df : 0),
    }
  }

  // ---- The socket

  #onEvent(events: number): void {
    if ((events & READABLE) !== 0) {
      this.#heard = performance.now()
      this.#busyWait.end(this.#heard * 1000)
      this.#attention.last = this
      this.#receive()
    }
    if (takesRequests(this.#state)) this.#pump()
    else {
      this.#send()
      this.#wake()
    }
    this.#arm()
  }

  #receive(microseconds = 0): boolean {
    const got = this.#channel.receive(this.#intake.wanted(), microseconds)
    if (this.#channel.closed) this.#ended()
    return got
  }

  #arm(): void {
    const readable = this.#channel.hasRoom && !this.#closing && !this.still ? READABLE : 0
    this.#channel.poll(readable | (this.#channel.unsent > 0 ? WRITABLE : 0))
  }

  /** The handshake's way to read. `null`: the peer left. */
  async #read(length: number): Promise<Buffer | null> {
    const channel = this.#channel
    while (channel.length < length) {
      if (channel.over || channel.closed || this.#closing) return null
      if (this.#receive()) continue
      this.#arm()
      await this.#wait()
    }
    const bytes = Buffer.from(channel.bytes.subarray(channel.start, channel.start + length))
    channel.take(length)
    return bytes
  }

  #owes(): boolean {
    return this.#channel.unsent > 0 || this.#replies.waiting || this.#intake.owes
  }

  /** Resolves when the reply is in the output, or nobody is there to take it. */
  #reply(parts: Uint8Array[]): Promise<void> {
    if (this.#channel.closed) return Promise.resolve()
    return new Promise((taken) => {
      this.#replies.add(parts, taken)
      // In the middle of a turn, its end sends.
      if (this.#reads.empty) this.#send()
      this.#arm()
    })
  }

  /** True: nothing is left to be sent. */
  #send(): boolean {
    const channel = this.#channel
    do {
      this.#replies.fill()
      // In the middle of another's reply nothing else may come.
      if (!this.#replies.partial) {
        this.#intake.answerWrites()
        this.#transferred.fill()
      }
      if (!channel.send()) {
        if (channel.closed) this.#ended()
        return false
      }
      this.#reads.release()
    } while (this.#replies.waiting || this.#transferred.blocked || this.#intake.owes)
    return true
  }

  // ---- Transmission

  /** Takes requests in and moves data until something has to be waited for. */
  #pump(): void {
    try {
      this.#turn()
    } finally {
      // Another turn of the event loop may lock what they write to.
      this.#intake.moveWrites()
      if (this.#held) this.#wake()
    }
  }

  #turn(): void {
    const intake = this.#intake
    let kept = 0
    for (let round = 0; round < ROUNDS; round++) {
      if (!takesRequests(this.#state)) return
      const taken = intake.takeRequests(this.#closing, this.#held)
      if (taken === "goodbye" && this.#state === "serving") this.#state = moved(this.#state, "parting")
      intake.moveReads()
      this.#writes.defer()
      const stop = intake.answerWrites() ? taken : "output"
      // To wake the client for each small reply costs more than the reply: several go together while requests come.
      if (stop === "input" && !intake.waiting && ++kept < KEPT_ROUNDS && this.#channel.unsent < KEPT_BYTES) {
        if (this.#receive()) continue
        if (this.#channel.closed) return
      }
      kept = 0
      const sent = this.#send()
      if (this.#channel.closed) return
      // What could not be moved at once is served first.
      const goesOn =
        stop === "output" ? sent : stop !== "awaited" && (intake.waiting || (stop === "input" && this.#receive()))
      if (!goesOn && !intake.moveWrites() && !(stop === "input" && this.#waitBusily())) {
        this.#pause(stop)
        return
      }
    }
    setImmediate(() => {
      this.#pump()
      this.#arm()
    })
  }

  #progressSoon(): void {
    if (this.#progressing) return
    this.#progressing = true
    queueMicrotask(() => {
      this.#progressing = false
      if (this.#channel.closed) return this.#wake()
      if (takesRequests(this.#state)) this.#pump()
      else {
        this.#send()
        this.#wake()
      }
      this.#arm()
    })
  }

  /** Whether input came. */
  #waitBusily(): boolean {
    // A disk will wake us first.
    if (this.#transferred.underWay || this.#writes.underWay) return false
    this.#busyWait.begin(performance.now() * 1000)
    const { possible, last } = this.#attention
    const { window } = this.#busyWait
    return window > 0 && possible && last === this && this.#receive(window)
  }

  /** Until there is something to go on with. */
  #pause(stop: Stop): void {
    if (stop === "over" || stop === "goodbye") {
      this.#state = finished(this.#state)
      this.#intake.abandon()
      this.#wake()
    }
    // They were asked to spare some when the first began to wait; what was in use then is not any more.
    if (this.#admission.contended) this.relax()
    this.#arm()
  }

  // ---- Requests served on their own

  #leave(cost: number): void {
    this.#admission.leave(cost)
    this.#wake()
    if (takesRequests(this.#state)) this.#pump()
  }

  /** Has been admitted. */
  #serve(request: Request, payload: Buffer | null): void {
    const cost = this.#admission.enter()
    // A change of part of a sector must not read it while we write it.
    this.#intake.moveWrites()
    void answer(this.#volume, request, payload, this.#negotiated, () => this.#goesOn(request))
      .then((parts) => this.#reply(parts))
      .finally(() => this.#leave(cost))
  }

  /** Whether to go on with a request that has begun. */
  #goesOn({ type }: Request): boolean {
    if (performance.now() >= this.#expiry) return false
    // Who left without goodbye hears no answer; but what was received to be written is written.
    if (saidGoodbye(this.#state) || type === Command.write) return true
    return !this.#channel.closed && !this.#channel.hungUp
  }
}
