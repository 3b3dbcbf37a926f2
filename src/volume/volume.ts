/**
 * The plaintext side of a volume: byte ranges in and out, ciphertext in a Store, keys in an enclave. Whole sectors that
 * need not wait are moved at once, by the addon; everything else takes the slow path.
 */

import { IoError } from "../base/io-error.ts"
import { RangeLock } from "../base/range-lock.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { SectorSize } from "../luks2/limits.ts"
import type { FileSectors } from "../native/addon.ts"
import type { Disk, DiskStatus, Ended } from "../store/disk.ts"
import { checkRange, type ServerStatus, type Store } from "../store/store.ts"
import { type Quiesced, quiesce } from "./quiesce.ts"
import { QuietRange } from "./quiet-range.ts"
import { SectorBatch } from "./sector-batch.ts"
import { segmentSize } from "./segment.ts"
import { aligned, SlowPath, type Wanted } from "./slow-path.ts"
import { closing, VolumeKey, type VolumeState } from "./volume-key.ts"

export interface VolumeCounters {
  /** Requests served, or pieces of large ones. */
  reads: number
  writes: number
  flushes: number
  bytesRead: number
  bytesWritten: number
  errors: number
  /** Requests being served now. */
  pending: number
}

export interface VolumeOptions {
  readonly store: Store
  /** Bytes; where the segment starts in the store. */
  readonly offset: number
  /** Bytes; `null`: to the end of the store. */
  readonly size: number | null
  readonly sectorSize: SectorSize
  readonly readOnly?: boolean
  readonly discards?: boolean
  /** Limit of the time I/O waits for a key, after `lock` and after the loss of an enclave; default: none. */
  readonly keyGraceMs?: number | null
  /** Transfers go past the page cache, where the store has a way past it. */
  readonly pastCache?: boolean
  /** How long `close` waits for requests in work, with the keys held; default 10 s. */
  readonly closeGraceMs?: number
  /** And after that, without keys, for the store to flush and to close; default 60 s. A close has CLOSE_MS at least. */
  readonly flushGraceMs?: number
}

const ALWAYS: Wanted = () => true

/** What a store has to close in, also one that did not flush in its time. */
const CLOSE_MS = 5000

/** Between looks whether a late write has ended, which may take hours. */
const LATE_MS = 20
/** Of reads that are cached: what is worth another thread. */
const SPREAD = 64 << 10
const EAGAIN = 11

export class Volume {
  readonly sectorSize: number
  readonly readOnly: boolean
  readonly discards: boolean
  /** Everything goes past the page cache: whole sectors are written by `transferWrite`, else by `writeNow`. */
  readonly direct: boolean
  readonly counters: VolumeCounters = {
    reads: 0,
    writes: 0,
    flushes: 0,
    bytesRead: 0,
    bytesWritten: 0,
    errors: 0,
    pending: 0,
  }
  readonly #options: VolumeOptions
  readonly #store: Store
  readonly #locks = new RangeLock()
  readonly #quiet = new QuietRange()
  readonly #key: VolumeKey
  readonly #slow: SlowPath
  /** Writes at once that had not ended after their time; then there are no others. */
  #late = 0
  readonly #quietOver = new Set<() => void>()
  #idle: (() => void) | null = null
  #size = 0
  /** Of `counters.bytesWritten`. */
  #flushed = 0
  #closed: Promise<void> | null = null

  /** Starts locked; owns the store from here on. Throws EINVAL when the segment does not fit the store. */
  constructor(options: VolumeOptions) {
    this.#options = options
    this.#store = options.store
    this.sectorSize = options.sectorSize
    this.readOnly = options.readOnly === true || options.store.readOnly
    this.discards = options.discards === true && options.store.discards && !this.readOnly
    const { store, offset, sectorSize, keyGraceMs = null, pastCache = false } = options
    const { disk = null, fd } = store
    const direct = disk !== null && (fd === null || (pastCache && disk.block !== null))
    this.direct = direct
    this.#key = new VolumeKey(store, direct, keyGraceMs)
    const [locks, quiet] = [this.#locks, this.#quiet]
    this.#slow = new SlowPath({ store, offset, sectorSize, direct, key: this.#key, locks, quiet })
    this.#size = segmentSize(store.size, this.#options)
    this.#describe()
  }

  get state(): VolumeState {
    return this.#key.state
  }

  /** Bytes of plaintext. */
  get size(): number {
    return this.#size
  }

  #describe(): void {
    this.#store.disk?.native.describe(this.#options.offset, this.#size, this.sectorSize, this.readOnly, this.direct)
  }

  /** Called at each change of state; returns what ends that. */
  onChange(listener: () => void): () => void {
    return this.#key.onChange(listener)
  }

  /** Gives the key; I/O that waits goes on. An older handle is wiped. Throws ESHUTDOWN once the volume closes. */
  unlock(enclave: Enclave, handle: VolumeHandle): void {
    this.#key.unlock(enclave, handle)
  }

  /** Wipes the key, in any state and at once; ciphertext already made is still written. */
  lock(): void {
    this.#key.lock()
  }

  /** While locked: I/O that waits, and all that comes, ends in EIO until the next unlock. */
  fail(): void {
    this.#key.fail()
  }

  /** When the key went with its enclave, in a suspend or a crash: as the next I/O would find. */
  lost(): void {
    this.#key.lost()
  }

  async #request<T>(offset: number, length: number, change: boolean, body: () => Promise<T>): Promise<T> {
    this.counters.pending++
    try {
      if (this.state === "closing" || this.state === "closed") throw closing()
      if (change && this.readOnly) throw new IoError("EPERM", "the volume is read-only")
      checkRange(this.#size, offset, length)
      return await body()
    } catch (error) {
      this.counters.errors++
      throw error
    } finally {
      if (--this.counters.pending === 0) this.#idle?.()
    }
  }

  #atOnce(offset: number, length: number): boolean {
    const { sectorSize } = this
    return (
      (this.#key.file !== null || this.#key.disk !== null) &&
      this.state === "ready" &&
      length > 0 &&
      offset % sectorSize === 0 &&
      length % sectorSize === 0 &&
      offset + length <= this.#size &&
      !this.#quiet.covers(offset, offset + length)
    )
  }

  /** Whether a row of a batch lies where it has to wait. */
  #isQuiet(batch: SectorBatch): boolean {
    for (let row = 0; row < batch.rows; row++) {
      const { start, end } = batch.range(row)
      if (this.#quiet.covers(start, end)) return true
    }
    return false
  }

  /** Descriptors that keep others off the store. */
  get claims(): readonly number[] {
    return this.#store.claims ?? []
  }

  /** Resolves when nothing is under way and all of it is on stable storage, if nobody asks for more meanwhile. */
  async settle(): Promise<void> {
    while (this.counters.pending > 0 || this.#late > 0) await new Promise((resolve) => setTimeout(resolve, LATE_MS))
    if (!this.readOnly) await this.#flush()
  }

  /** Before its first request: it was served by another process, with this size and these counters, and settled. */
  async carryOn(size: number, counters: VolumeCounters): Promise<void> {
    await this.#store.resync?.()
    this.#size = segmentSize(Math.min(this.#store.size, this.#options.offset + size), this.#options)
    Object.assign(this.counters, counters)
    this.#flushed = counters.bytesWritten
    this.#describe()
  }

  /** Rows for `readNow` and `writeNow`. */
  newBatch(): SectorBatch {
    return new SectorBatch(this.#options.offset)
  }

  /** Whether a row with this range may be tried with `readNow`, until the next turn of the event loop. */
  readsNow(offset: number, length: number): boolean {
    return this.#atOnce(offset, length)
  }

  /** The same for `writeNow` and `transferWrite`. */
  writesNow(offset: number, length: number): boolean {
    if (!this.#atOnce(offset, length) || this.readOnly || this.#store.failed === true) return false
    return (
      (this.direct || (this.#key.file !== null && this.#late === 0)) && !this.#locks.overlaps(offset, offset + length)
    )
  }

  /**
   * Moves what needs no waiting: what is in the page cache, in one entry; but large reads are left to the disk's threads,
   * where there are some. False: no row was moved. A row that failed, for whatever reason, is for `read`,
   * which waits, tries again and knows what to say.
   */
  readNow(buffer: ArrayBuffer, batch: SectorBatch): boolean {
    const { file, disk } = this.#key
    if (this.#isQuiet(batch)) return false
    if (disk !== null && (file === null || (disk.threads > 0 && batch.large(SPREAD)))) {
      batch.refuse()
      return true
    }
    if (file?.read(buffer, batch.table, batch.rows) !== 0) return false
    const { rows, bytes } = batch.moved()
    this.counters.reads += rows
    this.counters.bytesRead += bytes
    return true
  }

  /** The same for writing; what was written is not yet on stable storage. A row that failed is for `write`. */
  writeNow(buffer: ArrayBuffer, batch: SectorBatch): boolean {
    const { file } = this.#key
    if (this.#isQuiet(batch)) return false
    if (file?.write(buffer, batch.table, batch.rows) !== 0) return false
    if (batch.late) this.#keepFree(file, batch)
    const { rows, bytes } = batch.moved()
    this.counters.writes += rows
    this.counters.bytesWritten += bytes
    return true
  }

  /** Whoever writes where a late write does waits for its end: it must not come after theirs. */
  #keepFree(file: FileSectors, batch: SectorBatch): void {
    this.#late++
    const ended = new Promise<void>((resolve) => {
      const look = () => {
        if (file.writing()) return void setTimeout(look, LATE_MS).unref()
        this.#late--
        resolve()
      }
      look()
    })
    for (let row = 0; row < batch.rows; row++) {
      const { start, end } = batch.range(row)
      void this.#locks.with(start, end, () => ended)
    }
  }

  /**
   * Where transfers' memory is, while there are any: what `readNow` would have had to wait for may be read by
   * `transfer`. `null`: use `read`.
   */
  get disk(): Disk | null {
    return this.#key.disk
  }

  /** The same whether there is a key or not: for threads that read and write by themselves. */
  get storeDisk(): Disk | null {
    return this.#store.disk ?? null
  }

  /** `null`: the store has no requests under way of its own. */
  get diskStatus(): DiskStatus | null {
    return this.#store.disk?.status ?? null
  }

  /** `null`: no server has the data. */
  get serverStatus(): ServerStatus | null {
    return this.#store.server ?? null
  }

  /** Reads whole sectors to where was reserved of `disk`. An error is for `read`, which knows what to say. */
  transfer(disk: Disk, offset: number, length: number, at: number, ended: Ended): void {
    if (this.#quiet.covers(offset, offset + length)) {
      queueMicrotask(() => ended(EAGAIN))
      return
    }
    this.counters.pending++
    const read = this.#quiet.read()
    disk.read(offset, length, at, (error) => {
      read()
      if (error === 0) {
        this.counters.reads++
        this.counters.bytesRead += length
      }
      ended(error)
      if (--this.counters.pending === 0) this.#idle?.()
    })
  }

  /** The ciphertext, for who changes it while nobody else does. */
  get ciphertext(): Store {
    return this.#store
  }

  /**
   * Requests on [start, end), bytes, wait until `release` is called; others go on. `ready` resolves when none is under
   * way there. One at a time.
   */
  quiesce(start: number, end: number): Quiesced {
    const { ready, release } = quiesce(this.#quiet, this.#locks, this.#store.disk?.native ?? null, start, end)
    return {
      ready,
      release: () => {
        release()
        for (const listener of [...this.#quietOver]) listener()
      },
    }
  }

  /** Called when requests that waited for a quiet range may be tried again; returns what ends that. */
  onQuietOver(listener: () => void): () => void {
    this.#quietOver.add(listener)
    return () => void this.#quietOver.delete(listener)
  }

  /** Until the returned function is called, others wait who write parts of these sectors. After `writesNow`. */
  holdSectors(offset: number, length: number): () => void {
    return this.#locks.hold(offset, offset + length)
  }

  /** Writes whole sectors, which the caller holds, from plaintext in the memory of `disk`; waits for a key. */
  writeHeld({ bytes }: Disk, offset: number, length: number, at: number): Promise<void> {
    return this.#request(offset, length, true, async () => {
      await this.#slow.writeHeld(offset, bytes.subarray(at, at + length))
      this.counters.writes++
      this.counters.bytesWritten += length
    })
  }

  /**
   * Writes whole sectors, which the caller holds, from plaintext at `from` in `memory`, by way of what was reserved of
   * `disk`. What failed by the end of the disk's `submit` is for `write`, as nothing of it was written; ENOKEY after that is
   * for `writeHeld`.
   */
  transferWrite(
    disk: Disk,
    { offset, length, at, from }: { offset: number; length: number; at: number; from: number },
    memory: ArrayBuffer,
    ended: Ended,
  ): void {
    this.counters.pending++
    disk.writeFrom(offset, length, at, memory, from, (error) => {
      if (error === 0) {
        this.counters.writes++
        this.counters.bytesWritten += length
      }
      ended(error)
      if (--this.counters.pending === 0) this.#idle?.()
    })
  }

  /** Fills `into`, which must not be looked at before this has resolved. */
  readInto(offset: number, into: Uint8Array, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, into.length, false, async () => {
      await this.#slow.read(offset, into, wanted)
      this.counters.reads++
      this.counters.bytesRead += into.length
    })
  }

  async read(offset: number, length: number, wanted = ALWAYS): Promise<Buffer> {
    checkRange(this.#size, offset, length)
    const bytes = aligned(length)
    await this.readInto(offset, bytes, wanted)
    return bytes
  }

  /** `plaintext` must not change until this has resolved. `fua`: resolves when it is on stable storage. */
  write(offset: number, plaintext: Uint8Array, fua = false, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, plaintext.length, true, async () => {
      const durable = plaintext.length > 0 && (await this.#slow.write(offset, plaintext, fua, wanted))
      if (fua && !durable) await this.#flush()
      if (durable) this.#flushed += plaintext.length
      this.counters.writes++
      this.counters.bytesWritten += plaintext.length
    })
  }

  /** Writes encrypted zeros. */
  zero(offset: number, length: number, fua = false, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, length, true, async () => {
      await this.#slow.zero(offset, length, wanted)
      if (fua) await this.#flush()
      this.counters.writes++
      this.counters.bytesWritten += length
    })
  }

  /** Brings ciphertext into the system's cache, as a later read would; needs no key. */
  cache(offset: number, length: number, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, length, false, () => this.#slow.cache(offset, length, wanted))
  }

  /** Gives whole sectors back; what they read as afterwards is undefined. EPERM unless discards are allowed. */
  discard(offset: number, length: number): Promise<void> {
    return this.#request(offset, length, true, async () => {
      if (!this.discards) throw new IoError("EPERM", "discards are not allowed on this volume")
      await this.#slow.discard(offset, length)
    })
  }

  /** Bytes written that no flush has covered. */
  get unflushed(): number {
    return this.counters.bytesWritten - this.#flushed
  }

  async #flush(): Promise<void> {
    const { bytesWritten } = this.counters
    await this.#store.flush()
    this.#flushed = Math.max(this.#flushed, bytesWritten)
  }

  /** Resolves when every write resolved before is on stable storage. */
  flush(): Promise<void> {
    return this.#request(0, 0, false, async () => {
      if (!this.readOnly) await this.#flush()
      this.counters.flushes++
    })
  }

  /** After the store grew; the new size in bytes. A store that shrank is refused with EINVAL. */
  async resize(): Promise<number> {
    const size = segmentSize(await this.#store.refresh(), this.#options)
    if (size < this.#size) throw new IoError("EINVAL", `the store shrank: ${size} bytes are left of ${this.#size}`)
    this.#size = size
    this.#describe()
    return size
  }

  /**
   * Drains, wipes, flushes: each for a limited time, so that neither a request nor
   * a disk that hangs keeps the keys or the process. I/O that waits for a key ends
   * in ESHUTDOWN. Rejects when data may be lost.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const { closeGraceMs = 10_000, flushGraceMs = 60_000 } = this.#options
    this.#key.become("closing")
    const idle = new Promise<void>((resolve) => (this.#idle = resolve))
    const drained = this.counters.pending === 0 || (await within(closeGraceMs, idle))
    this.#key.wipe()
    const until = Date.now() + flushGraceMs
    try {
      if (!this.readOnly && !(await within(flushGraceMs, this.#flush()))) {
        throw new IoError("EIO", `the store did not flush within ${flushGraceMs / 1000} s`)
      }
      if (!drained) throw new IoError("EIO", `the store left ${this.counters.pending} requests unanswered`)
    } finally {
      this.#key.become("closed")
      await within(Math.max(CLOSE_MS, until - Date.now()), this.#store.close())
    }
  }
}

/** False: `work` took longer, and goes on. */
async function within(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), ms)))
  try {
    return await Promise.race([work.then(() => true as const), late])
  } finally {
    clearTimeout(timer)
  }
}
