/**
 * A store behind an NBD server. A lost connection is made again, and every
 * write the server may have lost with it, acknowledged but not flushed, is
 * given again before anything else; only when the server stays away longer
 * than the grace time do requests end in EIO.
 *
 * No write is given again, and none is made, while an old connection may still
 * do an older one: that could come after a newer one which has been flushed. So
 * the next connection is made when the server has ended the last one. When the
 * network fails instead, with writes unanswered, nobody knows what the server
 * still does: then writing ends until the volume is opened again.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { deferred } from "../base/deferred.ts"
import { asIoError, IoError } from "../base/io-error.ts"
import { RangeLock } from "../base/range-lock.ts"
import { NbdClient } from "../nbd/client.ts"
import type { NbdTarget } from "../nbd/uri.ts"
import { Journal } from "./journal.ts"
import { claimExport, type ExportClaim } from "./nbd-claim.ts"
import { checkRange, type Permit, type ServerStatus, type Store } from "./store.ts"

export interface NbdStoreOptions {
  readonly readOnly?: boolean
  /** Stores of one owner may have one export: data and header of a volume. Absent: nobody shares. */
  readonly owner?: object
  /** How long requests wait for a server that went away. */
  readonly lossGraceMs?: number
  /** A server silent so long over a request counts as gone. */
  readonly timeoutMs?: number
  /** Asked before each request is sent; absent: this machine alone uses the export. */
  readonly permit?: Permit
  /** Unflushed writes kept; at this many bytes the store flushes by itself. */
  readonly journalBytes?: number
  /** The URI it was named by; default: the server's address and the export's name. */
  readonly path?: string
  /** Called when connections are lost and made again. */
  readonly log?: (message: string, facts: Record<string, unknown>) => void
}

/** Largest block of a server that is used: a sector is not larger. */
const LARGEST_BLOCK = 4096

const FIRST_DELAY_MS = 50
const LONGEST_DELAY_MS = 5000

export class NbdStore implements Store {
  readonly path: string
  readonly fd = null
  readonly readOnly: boolean
  readonly discards: boolean
  readonly #target: NbdTarget
  readonly #graceMs: number
  readonly #timeoutMs: number
  readonly #journalBytes: number
  readonly #flushes: boolean
  readonly #journal = new Journal()
  readonly #log: NonNullable<NbdStoreOptions["log"]>
  readonly #claim: ExportClaim
  readonly #permit: Permit | null
  /** Offsets and lengths of what the server is asked are multiples of it. */
  readonly minimumBlock: number
  /** For writes of partial blocks. */
  readonly #locks = new RangeLock()
  #failed: IoError | null = null
  #size: number
  /** `null`: between connections. */
  #client: NbdClient | null = null
  /** Resolves with the next connection; rejects when the grace time is over, or at close. */
  #next = deferred<NbdClient>()
  #lost: IoError | null = null
  /** Why there is no connection. */
  #reason: string | null = null
  /** Rejects of what has been asked and not answered. */
  readonly #asking = new Set<(error: IoError) => void>()
  #relief: Promise<void> | null = null
  /** Held while writes are given again: no other write may come in between. */
  #mending: Promise<void> | null = null
  #writing = 0
  #quiet: (() => void) | null = null
  readonly #closing = deferred<null>()
  #closed = false
  /** No more connections: closed, or used no more. */
  #over = false
  #keeper: Promise<void> = Promise.resolve()

  private constructor(target: NbdTarget, client: NbdClient, claim: ExportClaim, options: NbdStoreOptions) {
    this.#target = target
    this.path = options.path ?? describe(target)
    this.#claim = claim
    this.#permit = options.permit ?? null
    this.#log = options.log ?? (() => {})
    this.minimumBlock = client.minimumBlock
    this.readOnly = options.readOnly === true || client.readOnly
    this.discards = client.trims
    this.#flushes = client.flushes
    this.#size = client.size
    this.#graceMs = options.lossGraceMs ?? 30_000
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.#journalBytes = options.journalBytes ?? 16 << 20
  }

  /**
   * Rejects with Node's error when nobody listens; IoError when the export is not fit, EPERM when it is
   * read-only; TresorError STORE_BUSY when another tresord has it.
   */
  static async open(target: NbdTarget, options: NbdStoreOptions = {}): Promise<NbdStore> {
    const client = await NbdClient.connect(target, { timeoutMs: options.timeoutMs ?? 30_000 })
    try {
      if (client.readOnly && options.readOnly !== true) {
        throw new IoError("EPERM", "the NBD server serves it read-only; use --readonly")
      }
      if (LARGEST_BLOCK % client.minimumBlock !== 0) {
        throw new IoError("EINVAL", `the NBD server wants blocks of ${client.minimumBlock} bytes, sectors are smaller`)
      }
      const claim = await claimExport(target, client.address, {
        write: options.readOnly !== true,
        owner: options.owner ?? {},
      })
      const store = new NbdStore(target, client, claim, options)
      store.#keeper = store.#keep(client)
      const { permit } = options
      void permit?.ended.then(() => store.#revoke(permit))
      return store
    } catch (error) {
      await client[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Writing has ended until it is opened again. */
  get failed(): boolean {
    return this.#failed !== null
  }

  get size(): number {
    return this.#size
  }

  get claims(): readonly number[] {
    return this.#claim.fd === null ? [] : [this.#claim.fd]
  }

  get server(): ServerStatus {
    if (this.#failed !== null) return { state: "ended", reason: this.#failed.message }
    if (this.#client !== null) return { state: "connected", reason: null }
    return { state: this.#lost === null ? "waiting" : "failing", reason: this.#reason }
  }

  /** Holds a connection until close. */
  async #keep(first: NbdClient): Promise<void> {
    for (let client: NbdClient | null = first; client !== null; client = await this.#replace(client)) {
      if (this.#over) return client.destroy()
      this.#client = client
      this.#lost = null
      this.#next.resolve(client)
      if (client !== first) this.#log("the NBD server is back", { server: describe(this.#target) })
      await Promise.race([client.left, this.#closing.promise])
      if (this.#over) return
      this.#drop(client)
      this.#reason = client.reason?.message ?? null
      this.#log("the connection to the NBD server is lost", { server: describe(this.#target), reason: this.#reason })
    }
  }

  /** Called by whoever notices first. */
  #drop(client: NbdClient): void {
    if (this.#client !== client) return
    this.#client = null
    this.#next = deferred()
    this.#journal.doubt()
  }

  /** The next connection, once the last one has ended. `null`: closed meanwhile. */
  async #replace(last: NbdClient): Promise<NbdClient | null> {
    const grace = setTimeout(() => {
      const server = describe(this.#target)
      this.#lost = new IoError(
        "EIO",
        `the NBD server ${server} did not come back within ${this.#graceMs / 1000} s (${this.#reason}); ` +
          "look at the server, and whether its storage is down or full",
      )
      this.#log("requests end in EIO until the NBD server is back", { server, reason: this.#reason })
      this.#next.reject(this.#lost)
      for (const reject of this.#asking) reject(this.#lost)
    }, this.#graceMs)
    try {
      await Promise.race([last.ended, this.#closing.promise])
      if (last.unsure) {
        this.#failed ??= new IoError(
          "EIO",
          "the network to the NBD server failed while writes were unanswered, and the server may still make them; " +
            "reading goes on, for writing the volume must be closed and opened again",
        )
        this.#log("writing has ended", { server: describe(this.#target), reason: this.#failed.message })
      }
      for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
        // Spread out, so that the volumes of a machine do not come back all at once.
        const pause = new AbortController()
        const slept = sleep(delay * (0.75 + Math.random() / 2), null, { signal: pause.signal }).catch(() => null)
        await Promise.race([slept, this.#closing.promise])
        pause.abort()
        if (this.#over) return null
        // It would be given writes again, which nobody may make now.
        if (this.#permit !== null && this.#permit.refusal !== null) continue
        const client = await this.#connectAgain().catch(() => null)
        if (client !== null) return client
      }
    } finally {
      clearTimeout(grace)
    }
  }

  /** A connection whose server was given every write again. */
  async #connectAgain(): Promise<NbdClient> {
    const client = await NbdClient.connect(this.#target, { timeoutMs: this.#timeoutMs })
    try {
      if (this.#failed !== null) return client
      if (client.size < this.#size || (client.readOnly && !this.readOnly)) {
        throw new IoError("EIO", "the NBD server serves something else now")
      }
      // A write the server refuses stays in the journal: the next flush tries again, and tells.
      await this.#replay(client).catch((error: unknown) => {
        if (client.gone) throw error
      })
      return client
    } catch (error) {
      this.#journal.doubt()
      client.leave(asIoError(error))
      await Promise.race([client.ended, this.#closing.promise])
      throw error
    }
  }

  /** In order where writes overlap, else side by side. Rejects with the first refusal, after all were tried. */
  async #replay(client: NbdClient): Promise<void> {
    const locks = new RangeLock()
    let refusal: unknown = null
    await Promise.all(
      this.#journal.missing().map((entry) =>
        locks.with(entry.offset, entry.offset + entry.bytes.length, async () => {
          try {
            if (this.#permit !== null) {
              while (client.congested) await client.handedOver()
              if (this.#permit.refusal !== null) throw this.#permit.refusal
            }
            await client.write(entry.offset, entry.bytes)
            entry.held = true
          } catch (error) {
            entry.held = false
            refusal ??= error
          }
        }),
      ),
    )
    if (refusal !== null) throw refusal
  }

  /** Runs `body` on a connection; on the next one when that was lost meanwhile. */
  async #onClient<T>(body: (client: NbdClient) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.#closed) throw closed()
      if (this.#lost !== null) throw this.#lost
      const client = this.#client ?? (await this.#next.promise)
      if (this.#permit !== null) {
        // What is sent is to go to the kernel at once, not to a queue of ours that is sent whenever the server reads on.
        if (client.congested) {
          await this.#unlessLost(client.handedOver())
          continue
        }
        if (this.#permit.refusal !== null) {
          await Promise.race([this.#permit.regained(), this.#closing.promise])
          continue
        }
      }
      try {
        return await this.#unlessLost(body(client))
      } catch (error) {
        if (error === this.#lost) throw error
        // A server that is being stopped: the next one may do it.
        const stopping = !client.gone && (error as IoError).code === "ESHUTDOWN"
        if (stopping) client.leave(error as IoError)
        if (client.gone) this.#drop(client)
        // A server that lies would lie again on the next connection, and so without end.
        if (!client.gone || client.violated) throw asIoError(error)
      }
    }
  }

  /** The permit has ended: nothing is sent any more, what waits in our queues neither. */
  #revoke(permit: Permit): void {
    if (this.#over) return
    this.#over = true
    const refusal = permit.refusal ?? closed()
    this.#failed ??= refusal
    this.#log("the store is used no more", { server: describe(this.#target), reason: refusal.message })
    this.#closing.resolve(null)
    this.#next.reject(refusal)
    for (const reject of this.#asking) reject(refusal)
    this.#client?.destroy()
  }

  /** What is asked of a connection that was given up may have no answer for as long as that does not end. */
  #unlessLost<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#asking.add(reject)
      void work.then(resolve, reject).finally(() => this.#asking.delete(reject))
    })
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, into.length)
    if (into.length === 0) return
    const { start, end } = this.#blocks(offset, into.length)
    if (end - start === into.length) return this.#onClient((client) => client.readInto(offset, into))
    const bytes = Buffer.alloc(end - start)
    await this.#onClient((client) => client.readInto(start, bytes))
    into.set(bytes.subarray(offset - start, offset - start + into.length))
  }

  /** The whole blocks that a range touches. */
  #blocks(offset: number, length: number): { readonly start: number; readonly end: number } {
    const unit = this.minimumBlock
    return { start: Math.floor(offset / unit) * unit, end: Math.ceil((offset + length) / unit) * unit }
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", "the store is read-only")
    checkRange(this.#size, offset, from.length)
    if (from.length === 0) return
    const { start, end } = this.#blocks(offset, from.length)
    // A server's blocks are usually not larger than sectors; then no lock is needed.
    if (this.minimumBlock <= 512 && end - start === from.length) return this.#write(offset, from)
    await this.#locks.with(start, end, async () => {
      const whole = end - start === from.length ? from : Buffer.alloc(end - start)
      if (whole !== from) {
        await this.read(start, whole)
        whole.set(from, offset - start)
      }
      await this.#write(start, whole)
    })
  }

  /** Whole blocks. */
  async #write(offset: number, from: Uint8Array): Promise<void> {
    if (this.#failed !== null) throw this.#failed
    if (this.#flushes && this.#journal.bytes + from.length > this.#journalBytes) await this.#relieve()
    while (this.#mending !== null) await this.#mending
    this.#writing++
    const entry = this.#journal.add(offset, from)
    try {
      await this.#onClient(async (client) => {
        if (this.#failed !== null) throw this.#failed
        // A replay may have given it already.
        if (!entry.held) await client.write(offset, entry.bytes)
        if (client.gone) throw closed()
        entry.held = true
      })
      entry.promised = true
      if (!this.#flushes) this.#journal.delete(entry)
    } catch (error) {
      this.#journal.delete(entry)
      throw error
    } finally {
      if (--this.#writing === 0) this.#quiet?.()
    }
  }

  /** One flush for all who wait for room. */
  #relieve(): Promise<void> {
    this.#relief ??= this.flush().finally(() => (this.#relief = null))
    return this.#relief
  }

  async flush(): Promise<void> {
    if (this.#failed !== null) throw this.#failed
    if (this.readOnly || !this.#flushes) return
    while (this.#journal.broken) await this.#mend()
    await this.#onClient(async (client) => {
      const covered = this.#journal.held()
      try {
        await client.flush()
      } catch (error) {
        // What it could not put down it may have dropped: only giving it again can make a later flush true.
        for (const entry of covered) entry.held = false
        throw error
      }
      for (const entry of covered) this.#journal.delete(entry)
    })
    // The connection was lost on the way, and something promised was refused on the next.
    if (this.#journal.broken) throw new IoError("EIO", "the NBD server lost writes and refuses them now")
  }

  /** Gives again what was promised and is not held, while nothing else is written. */
  async #mend(): Promise<void> {
    while (this.#mending !== null) await this.#mending
    if (!this.#journal.broken) return
    const done = deferred<void>()
    this.#mending = done.promise
    try {
      if (this.#writing > 0) await new Promise<void>((resolve) => (this.#quiet = resolve))
      this.#quiet = null
      await this.#onClient((client) => this.#replay(client))
    } finally {
      this.#mending = null
      done.resolve()
    }
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", "the store is read-only")
    checkRange(this.#size, offset, length)
    if (this.#failed !== null) throw this.#failed
    const unit = this.minimumBlock
    const start = Math.ceil(offset / unit) * unit
    const end = Math.floor((offset + length) / unit) * unit
    if (start >= end || !this.discards) return
    await this.#onClient((client) => client.trim(start, end - start))
  }

  /** NBD tells the size at the start of a connection only: one that knows the old size is given up. */
  async refresh(): Promise<number> {
    const client = await NbdClient.connect(this.#target, { timeoutMs: this.#timeoutMs })
    const { size } = client
    await client[Symbol.asyncDispose]()
    if (size <= this.#size) return size
    this.#size = size
    const old = this.#client
    if (old !== null && old.size < size) await this.#exchange(old, "the export has grown")
    return size
  }

  async #exchange(old: NbdClient, why: string): Promise<void> {
    old.leave(new IoError("EIO", why))
    this.#drop(old)
    await this.#next.promise
  }

  /** A server that does not say otherwise may have a cache for each connection. */
  async resync(): Promise<void> {
    const old = this.#client
    if (old !== null && !old.sharesCache) await this.#exchange(old, "another process has written")
  }

  /** An export has no lock file: cryptsetup cannot reach it either. */
  locked<T>(_mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T> {
    return work()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#over = true
    this.#closing.resolve(null)
    this.#next.reject(closed())
    await this.#keeper
    await this.#client?.[Symbol.asyncDispose]()
    await this.#claim.release()
  }
}

function describe({ at, exportName }: NbdTarget): string {
  return `${"path" in at ? at.path : `${at.host}:${at.port}`}/${exportName}`
}

function closed(): IoError {
  return new IoError("ESHUTDOWN", "the store is closed")
}
