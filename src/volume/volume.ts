/**
 * The plaintext side of a volume: byte ranges in and out, ciphertext in a
 * Store, keys in an enclave. Any alignment is served; what is smaller than a
 * sector is read, changed and written under a lock of its range.
 */

import { Budget } from "../base/budget.ts"
import { IoError } from "../base/io-error.ts"
import { RangeLock } from "../base/range-lock.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { FileSectors } from "../native/addon.ts"
import type { Disk, DiskStatus, Ended } from "../store/disk.ts"
import { checkRange, type ServerStatus, type Store } from "../store/store.ts"
import { QuietRange } from "./quiet-range.ts"
import { SectorBatch } from "./sector-batch.ts"

/** "locked": no key, I/O waits. "failed": no key in time, I/O ends in EIO. */
export type VolumeState = "ready" | "locked" | "failed" | "closing" | "closed"

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
  readonly sectorSize: 512 | 1024 | 2048 | 4096
  readonly readOnly?: boolean
  readonly discards?: boolean
  /** Limit of the time I/O waits for a key, after `lock` and after the loss of an enclave; default: none. */
  readonly keyGraceMs?: number | null
  /** Transfers go past the page cache, where the store has a way past it. */
  readonly pastCache?: boolean
  /** How long `close` waits for requests in work, with the keys held; default 10 s. */
  readonly closeGraceMs?: number
  /** And after that, without keys, for the store to flush, and to close; default 60 s each. */
  readonly flushGraceMs?: number
}

/** Asked between the steps of a long request: false ends it with ESHUTDOWN. */
export type Wanted = () => boolean
const ALWAYS: Wanted = () => true

/** Bytes moved at once, a multiple of every sector size: longer requests go piece by piece. */
const SLICE = 1 << 20
/** Bytes of ciphertext and of unaligned plaintext held by all reads, or all writes, together. */
const SCRATCH = 8 << 20
/** Of a write past the page cache: what a disk's memory has in one piece. */
const PIECE = 128 << 10
/** Between looks whether a late write has ended, which may take hours. */
const LATE_MS = 20
/** Between looks whether a range is quiet. */
const POLL_MS = 1
/** Of reads that are cached: what is worth another thread. */
const SPREAD = 64 << 10
const ZEROES = Buffer.alloc(SLICE)
const EAGAIN = 11

/**
 * The enclave takes 8-byte aligned addresses. Zeroed: whatever goes wrong with
 * what is to fill it, no store or client is given what the heap held before.
 */
const aligned = (length: number): Buffer => Buffer.alloc(length)
const isAligned = (bytes: Uint8Array): boolean => bytes.byteOffset % 8 === 0

interface Slice {
  /** Whole sectors. */
  readonly start: number
  readonly end: number
}

export class Volume {
  readonly sectorSize: number
  readonly readOnly: boolean
  readonly discards: boolean
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
  readonly #writeScratch = new Budget(SCRATCH)
  /** Of its own: a disk that takes no writes must not keep reads waiting. */
  readonly #readScratch = new Budget(SCRATCH)
  /** Writes at once that had not ended after their time; then there are no others. */
  #late = 0
  readonly #waiting = new Set<() => void>()
  readonly #listeners = new Set<() => void>()
  readonly #quietOver = new Set<() => void>()
  #key: { readonly enclave: Enclave; readonly handle: VolumeHandle } | null = null
  /** The way past the queue, while there is a key and the store is a file. */
  #file: FileSectors | null = null
  /** The way for what waits for a disk, likewise. */
  #disk: Disk | null = null
  #state: VolumeState = "locked"
  #grace: NodeJS.Timeout | null = null
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
    this.#size = this.#segmentSize(options.store.size)
    this.#describe()
  }

  get state(): VolumeState {
    return this.#state
  }

  /** Bytes of plaintext. */
  get size(): number {
    return this.#size
  }

  #segmentSize(storeSize: number): number {
    const { offset, size, sectorSize } = this.#options
    const room = storeSize - offset
    const wanted = size ?? room - (room % sectorSize)
    if (offset % 512 !== 0 || wanted % sectorSize !== 0 || wanted <= 0 || wanted > room) {
      throw new IoError("EINVAL", `segment ${offset}+${wanted} does not fit a store of ${storeSize} bytes`)
    }
    return wanted
  }

  /** Everything goes past the page cache. */
  get #past(): boolean {
    const { disk = null, fd } = this.#store
    return disk !== null && (fd === null || (this.#options.pastCache === true && disk.block !== null))
  }

  #describe(): void {
    this.#store.disk?.native.describe(this.#options.offset, this.#size, this.sectorSize, this.readOnly, this.#past)
  }

  #become(state: VolumeState): void {
    this.#state = state
    for (const wake of [...this.#waiting]) wake()
    for (const listener of [...this.#listeners]) listener()
  }

  /** Called at each change of state; returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Gives the key; I/O that waits goes on. An older handle is wiped. */
  unlock(enclave: Enclave, handle: VolumeHandle): void {
    if (this.#state === "closing" || this.#state === "closed") throw closing()
    this.#wipe()
    this.#key = { enclave, handle }
    const { disk = null } = this.#store
    // Nothing goes through the page cache beside what goes past it (docs/decisions/0064).
    const fd = this.#past ? null : this.#store.fd
    this.#file = fd === null ? null : (enclave.fileSectors?.(handle, fd) ?? null)
    if (disk !== null && enclave.lend !== undefined) {
      enclave.lend(handle, disk.native)
      this.#disk = disk
    }
    this.#become("ready")
  }

  /** Wipes the key, in any state and at once; ciphertext already made is still written. */
  lock(): void {
    this.#wipe()
    if (this.#state === "ready" || this.#state === "locked") this.#wait()
  }

  /** While locked: I/O that waits, and all that comes, ends in EIO until the next unlock. */
  fail(): void {
    if (this.#state !== "locked") return
    if (this.#grace !== null) clearTimeout(this.#grace)
    this.#become("failed")
  }

  /** When the key went with its enclave, in a suspend or a crash: as the next I/O would find. */
  lost(): void {
    if (this.#key === null || this.#key.enclave.alive) return
    this.#key = null
    this.#withdraw()
    this.#wait()
  }

  #wait(): void {
    const { keyGraceMs = null } = this.#options
    if (keyGraceMs !== null) {
      this.#grace = setTimeout(() => this.#become("failed"), keyGraceMs)
      this.#grace.unref()
    }
    this.#become("locked")
  }

  #wipe(): void {
    if (this.#grace !== null) clearTimeout(this.#grace)
    this.#grace = null
    const key = this.#key
    this.#key = null
    this.#withdraw()
    if (key?.enclave.alive) key.enclave.closeVolume(key.handle)
  }

  /** The ways that do not ask for the key each time. */
  #withdraw(): void {
    this.#file = null
    this.#disk?.native.clearKey()
    this.#disk?.wipe()
    this.#disk = null
  }

  /** Whole sectors through the enclave, once there is a key; again through the next one when it was lost. */
  async #crypt(decrypt: boolean, offset: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    for (;;) {
      const key = this.#key
      if (key === null) {
        if (this.#state === "failed") throw new IoError("EIO", "the volume has no key")
        if (this.#state !== "locked") throw closing()
        await new Promise<void>((resolve) => {
          const wake = () => {
            this.#waiting.delete(wake)
            resolve()
          }
          this.#waiting.add(wake)
        })
        continue
      }
      try {
        key.enclave.sectors(key.handle, decrypt, [{ input, output, sector: BigInt(offset / 512) }])
        return
      } catch (error) {
        if (key.enclave.alive) throw new IoError("EIO", "the enclave refused the sectors", { cause: error })
        if (this.#key === key) this.lost()
      }
    }
  }

  async #request<T>(offset: number, length: number, change: boolean, body: () => Promise<T>): Promise<T> {
    this.counters.pending++
    try {
      if (this.#state === "closing" || this.#state === "closed") throw closing()
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

  /** The sectors that [offset, last) touches, piece by piece. */
  *#slices(offset: number, last: number): Generator<Slice> {
    const end = Math.ceil(last / this.sectorSize) * this.sectorSize
    for (let start = offset - (offset % this.sectorSize); start < end; ) {
      const next = Math.min(end, start + SLICE)
      yield { start, end: next }
      start = next
    }
  }

  #atOnce(offset: number, length: number): boolean {
    const { sectorSize } = this
    return (
      (this.#file !== null || this.#disk !== null) &&
      this.#state === "ready" &&
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

  /** Descriptors that keep others off the store; `null`: it has none that another process could keep. */
  get claims(): readonly number[] | null {
    return this.#store.claims ?? null
  }

  /** Resolves when nothing is under way and all of it is on stable storage, if nobody asks for more meanwhile. */
  async settle(): Promise<void> {
    while (this.counters.pending > 0 || this.#late > 0) await new Promise((resolve) => setTimeout(resolve, LATE_MS))
    if (!this.readOnly) await this.#flush()
  }

  /** Before its first request: it was served by another process, with this size and these counters, and settled. */
  carryOn(size: number, counters: VolumeCounters): void {
    this.#size = this.#segmentSize(Math.min(this.#store.size, this.#options.offset + size))
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

  /** Writes of whole sectors go past the page cache, by `transferWrite`; else there is `writeNow`. */
  get direct(): boolean {
    return this.#past
  }

  /** The same for `writeNow` and `transferWrite`. */
  writesNow(offset: number, length: number): boolean {
    if (!this.#atOnce(offset, length) || this.readOnly || this.#store.failed === true) return false
    return (this.direct || (this.#file !== null && this.#late === 0)) && !this.#locks.overlaps(offset, offset + length)
  }

  /**
   * Moves what needs no waiting: what is in the page cache, in one entry; but large reads are left to the disk's threads,
   * where there are some. False: no row was moved. A row that failed, for whatever reason, is for `read`,
   * which waits, tries again and knows what to say.
   */
  readNow(buffer: ArrayBuffer, batch: SectorBatch): boolean {
    const disk = this.#disk
    if (this.#isQuiet(batch)) return false
    if (disk !== null && (this.#file === null || (disk.threads > 0 && batch.large(SPREAD)))) {
      batch.refuse()
      return true
    }
    if (this.#file?.read(buffer, batch.table, batch.rows) !== 0) return false
    const { rows, bytes } = batch.moved()
    this.counters.reads += rows
    this.counters.bytesRead += bytes
    return true
  }

  /** The same for writing; what was written is not yet on stable storage. A row that failed is for `write`. */
  writeNow(buffer: ArrayBuffer, batch: SectorBatch): boolean {
    const file = this.#file
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
    return this.#disk
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
  quiesce(start: number, end: number): { readonly ready: Promise<void>; readonly release: () => void } {
    const quiet = this.#quiet.set(start, end)
    let free!: () => void
    const freed = new Promise<void>((resolve) => (free = resolve))
    const written = new Promise<void>((resolve) => {
      void this.#locks.with(start, end, () => {
        resolve()
        return freed
      })
    })
    let released = false
    /** Threads of other exports: what they had under way is polled for. */
    const threads = async () => {
      const native = this.#store.disk?.native
      const after = () => new Promise((resolve) => setTimeout(resolve, POLL_MS))
      if (native === undefined) return
      while (!released && !native.quiet(start, end)) await after()
      while (!released && !native.quietReached()) await after()
    }
    return {
      ready: Promise.all([quiet.ready, written]).then(threads),
      release: () => {
        released = true
        quiet.release()
        free()
        this.#store.disk?.native.quietOver()
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
      await this.#writeSlice({ start: offset, end: offset + length }, 0, bytes.subarray(at, at + length), false)
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

  async #withScratch<T>(scratch: Budget, bytes: number, body: () => Promise<T>): Promise<T> {
    await scratch.take(bytes)
    try {
      return await body()
    } finally {
      scratch.give(bytes)
    }
  }

  /** Whole sectors, by way of `ciphertext`, which is as long as `plaintext`. */
  async #readSectors(offset: number, ciphertext: Uint8Array, plaintext: Uint8Array): Promise<void> {
    await this.#store.read(this.#options.offset + offset, ciphertext)
    await this.#crypt(true, offset, ciphertext, plaintext)
  }

  /** Fills `into`, which must not be looked at before this has resolved. */
  readInto(offset: number, into: Uint8Array, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, into.length, false, async () => {
      const last = offset + into.length
      for (const slice of into.length === 0 ? [] : this.#slices(offset, last)) {
        const length = slice.end - slice.start
        const target = into.subarray(Math.max(0, slice.start - offset), slice.end - offset)
        const whole = target.length === length && isAligned(target)
        const moved = async () => {
          if (!wanted()) throw closing()
          if (this.#quiet.covers(slice.start, slice.end)) return false
          const ended = this.#quiet.read()
          const plaintext = whole ? target : aligned(length)
          try {
            await this.#readSectors(slice.start, aligned(length), plaintext)
          } finally {
            ended()
          }
          if (whole) return true
          const from = Math.max(0, offset - slice.start)
          target.set(plaintext.subarray(from, from + target.length))
          return true
        }
        // Who waits for a quiet range holds no memory that others wait for.
        do await this.#quiet.passed(slice.start, slice.end)
        while (!(await this.#withScratch(this.#readScratch, whole ? length : 2 * length, moved)))
      }
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
      const durable = plaintext.length > 0 && (await this.#writeBytes(offset, plaintext, fua, wanted))
      if (fua && !durable) await this.#flush()
      if (durable) this.#flushed += plaintext.length
      this.counters.writes++
      this.counters.bytesWritten += plaintext.length
    })
  }

  /** True: all of it is on stable storage, as `fua` asks for where that costs less than a flush. */
  #writeBytes(offset: number, plaintext: Uint8Array, fua: boolean, wanted: Wanted): Promise<boolean> {
    const last = offset + plaintext.length
    const start = offset - (offset % this.sectorSize)
    const end = Math.ceil(last / this.sectorSize) * this.sectorSize
    // One that is moved in one piece: a flush after many costs less than each with its own.
    const durable = fua && plaintext.length <= PIECE
    return this.#locks.with(start, end, async () => {
      let stable = durable
      for (const slice of this.#slices(offset, last)) {
        if (!wanted()) throw closing()
        const source = plaintext.subarray(Math.max(0, slice.start - offset), slice.end - offset)
        const past = await this.#writeSlice(slice, Math.max(0, offset - slice.start), source, durable)
        stable &&= past
      }
      return stable
    })
  }

  /**
   * Whole sectors past the page cache, where the store is opened so: its pieces are under way together, and with those
   * of other requests. False: something of it was not written, and is for who waits for a key and knows what to say.
   */
  async #writePast(start: number, source: Uint8Array, durable: boolean): Promise<boolean> {
    const disk = this.#disk
    if (disk === null || !this.#past) return false
    const pieces: Promise<boolean>[] = []
    for (let done = 0; done < source.length; done += PIECE) {
      const piece = source.subarray(done, done + PIECE)
      const at = disk.reserve(piece.length)
      if (at < 0) {
        pieces.push(Promise.resolve(false))
        break
      }
      disk.bytes.set(piece, at)
      pieces.push(
        new Promise((resolve) => {
          disk.write(start + done, piece.length, at, durable, (error) => {
            disk.release(at, piece.length)
            resolve(error === 0)
          })
        }),
      )
    }
    return (await Promise.all(pieces)).every((written) => written)
  }

  /** `source` lies `from` bytes into the slice; the caller holds the lock. False: it is not `durable`. */
  #writeSlice({ start, end }: Slice, from: number, source: Uint8Array, durable: boolean): Promise<boolean> {
    const length = end - start
    const whole = source.length === length && isAligned(source)
    return this.#withScratch(this.#writeScratch, whole ? length : 2 * length, async () => {
      if (whole && (await this.#writePast(start, source, durable))) return durable
      const ciphertext = aligned(length)
      const plaintext = whole ? source : aligned(length)
      if (!whole) {
        const size = this.sectorSize
        const edge = (at: number) =>
          this.#readSectors(start + at, ciphertext.subarray(at, at + size), plaintext.subarray(at, at + size))
        // Only the sectors at the two edges hold bytes to be kept.
        if (from > 0 || source.length < size) await edge(0)
        if (from + source.length < length && length > size) await edge(length - size)
        plaintext.set(source, from)
      }
      await this.#crypt(false, start, plaintext, ciphertext)
      await this.#store.write(this.#options.offset + start, ciphertext)
      return false
    })
  }

  /** Writes encrypted zeros. */
  zero(offset: number, length: number, fua = false, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, length, true, async () => {
      for (let done = 0; done < length; ) {
        // Parts end on sectors, so that only the two ends are read first.
        const part = Math.min(length - done, SLICE - ((offset + done) % this.sectorSize))
        await this.#writeBytes(offset + done, ZEROES.subarray(0, part), false, wanted)
        done += part
      }
      if (fua) await this.#flush()
      this.counters.writes++
      this.counters.bytesWritten += length
    })
  }

  /** Brings ciphertext into the system's cache, as a later read would; needs no key. */
  cache(offset: number, length: number, wanted = ALWAYS): Promise<void> {
    return this.#request(offset, length, false, async () => {
      for (const { start, end } of length === 0 ? [] : this.#slices(offset, offset + length)) {
        await this.#withScratch(this.#readScratch, end - start, async () => {
          if (!wanted()) throw closing()
          await this.#store.read(this.#options.offset + start, aligned(end - start))
        })
      }
    })
  }

  /** Gives whole sectors back; what they read as afterwards is undefined. EPERM unless discards are allowed. */
  discard(offset: number, length: number): Promise<void> {
    return this.#request(offset, length, true, async () => {
      if (!this.discards) throw new IoError("EPERM", "discards are not allowed on this volume")
      const start = Math.ceil(offset / this.sectorSize) * this.sectorSize
      const end = offset + length - ((offset + length) % this.sectorSize)
      if (start >= end) return
      await this.#locks.with(start, end, () => this.#store.discard(this.#options.offset + start, end - start))
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
    const size = this.#segmentSize(await this.#store.refresh())
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
    this.#become("closing")
    const idle = new Promise<void>((resolve) => (this.#idle = resolve))
    const drained = this.counters.pending === 0 || (await within(closeGraceMs, idle))
    this.#wipe()
    try {
      if (!this.readOnly && !(await within(flushGraceMs, this.#flush()))) {
        throw new IoError("EIO", `the store did not flush within ${flushGraceMs / 1000} s`)
      }
      if (!drained) throw new IoError("EIO", `the store left ${this.counters.pending} requests unanswered`)
    } finally {
      this.#become("closed")
      await within(flushGraceMs, this.#store.close())
    }
  }
}

function closing(): IoError {
  return new IoError("ESHUTDOWN", "the volume is closing")
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
