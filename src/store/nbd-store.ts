/**
 * A store behind an NBD server. A lost connection is made again, and every
 * write the server may have lost with it, acknowledged but not flushed, is
 * given again before anything else; only when the server stays away longer
 * than the grace time do requests end in EIO.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { deferred } from "../deferred.ts"
import { NbdClient } from "../nbd/client.ts"
import type { NbdTarget } from "../nbd/uri.ts"
import { Journal } from "./journal.ts"
import { RangeLock } from "./range-lock.ts"
import { asIoError, checkRange, IoError, type Store } from "./store.ts"

export interface NbdStoreOptions {
  readonly readOnly?: boolean
  /** How long requests wait for a server that went away. */
  readonly lossGraceMs?: number
  /** A server silent so long over a request counts as gone. */
  readonly timeoutMs?: number
  /** Unflushed writes kept; at this many bytes the store flushes by itself. */
  readonly journalBytes?: number
}

const FIRST_DELAY_MS = 50
const LONGEST_DELAY_MS = 5000

export class NbdStore implements Store {
  readonly fd = null
  readonly readOnly: boolean
  readonly discards: boolean
  readonly #target: NbdTarget
  readonly #graceMs: number
  readonly #timeoutMs: number
  readonly #journalBytes: number
  readonly #flushes: boolean
  readonly #journal = new Journal()
  #size: number
  /** `null`: between connections. */
  #client: NbdClient | null = null
  /** Resolves with the next connection; rejects when the grace time is over, or at close. */
  #next = deferred<NbdClient>()
  #lost: IoError | null = null
  #relief: Promise<void> | null = null
  /** Held while writes are given again: no other write may come in between. */
  #mending: Promise<void> | null = null
  #writing = 0
  #quiet: (() => void) | null = null
  readonly #closing = deferred<null>()
  #closed = false
  #keeper: Promise<void> = Promise.resolve()

  private constructor(target: NbdTarget, client: NbdClient, options: NbdStoreOptions) {
    this.#target = target
    this.readOnly = options.readOnly === true || client.readOnly
    this.discards = client.trims
    this.#flushes = client.flushes
    this.#size = client.size
    this.#graceMs = options.lossGraceMs ?? 30_000
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.#journalBytes = options.journalBytes ?? 16 << 20
  }

  /** Rejects with Node's error when nobody listens; IoError when the export is not fit, EPERM when it is read-only. */
  static async open(target: NbdTarget, options: NbdStoreOptions = {}): Promise<NbdStore> {
    const client = await NbdClient.connect(target, { timeoutMs: options.timeoutMs ?? 30_000 })
    try {
      if (client.readOnly && options.readOnly !== true) {
        throw new IoError("EPERM", "the NBD server serves it read-only; use --readonly")
      }
      if (512 % client.minimumBlock !== 0) {
        throw new IoError("EINVAL", `the NBD server wants blocks of ${client.minimumBlock} bytes, sectors are smaller`)
      }
    } catch (error) {
      await client[Symbol.asyncDispose]()
      throw error
    }
    const store = new NbdStore(target, client, options)
    store.#keeper = store.#keep(client)
    return store
  }

  get size(): number {
    return this.#size
  }

  /** Holds a connection until close. */
  async #keep(first: NbdClient): Promise<void> {
    for (let client: NbdClient | null = first; client !== null; client = await this.#reconnect()) {
      if (this.#closed) return client.destroy()
      this.#client = client
      this.#lost = null
      this.#next.resolve(client)
      await Promise.race([client.ended, this.#closing.promise])
      if (this.#closed) return
      this.#drop(client)
    }
  }

  /** Called by whoever notices first. */
  #drop(client: NbdClient): void {
    if (this.#client !== client) return
    this.#client = null
    this.#next = deferred()
    this.#journal.doubt()
  }

  /** `null`: closed meanwhile. */
  async #reconnect(): Promise<NbdClient | null> {
    const grace = setTimeout(() => {
      this.#lost = new IoError("EIO", "the NBD server went away and did not come back in time")
      this.#next.reject(this.#lost)
    }, this.#graceMs)
    try {
      for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
        // Spread out, so that the volumes of a machine do not come back all at once.
        const pause = new AbortController()
        const slept = sleep(delay * (0.75 + Math.random() / 2), null, { signal: pause.signal }).catch(() => null)
        await Promise.race([slept, this.#closing.promise])
        pause.abort()
        if (this.#closed) return null
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
      client.destroy()
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
      try {
        return await body(client)
      } catch (error) {
        if (client.gone) this.#drop(client)
        // A server that lies would lie again on the next connection, and so without end.
        if (!client.gone || client.violated) throw asIoError(error)
      }
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, into.length)
    if (into.length === 0) return
    await this.#onClient((client) => client.readInto(offset, into))
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", "the store is read-only")
    checkRange(this.#size, offset, from.length)
    if (from.length === 0) return
    if (this.#flushes && this.#journal.bytes + from.length > this.#journalBytes) await this.#relieve()
    while (this.#mending !== null) await this.#mending
    this.#writing++
    const entry = this.#journal.add(offset, from)
    try {
      await this.#onClient(async (client) => {
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
    if (length === 0 || !this.discards) return
    await this.#onClient((client) => client.trim(offset, length))
  }

  /** NBD tells the size at the start of a connection only. */
  async refresh(): Promise<number> {
    const client = await NbdClient.connect(this.#target, { timeoutMs: this.#timeoutMs })
    this.#size = client.size
    await client[Symbol.asyncDispose]()
    return this.#size
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#closing.resolve(null)
    this.#next.reject(closed())
    await this.#keeper
    await this.#client?.[Symbol.asyncDispose]()
  }
}

function closed(): IoError {
  return new IoError("ESHUTDOWN", "the store is closed")
}
