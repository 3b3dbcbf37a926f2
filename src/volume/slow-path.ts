/**
 * Byte ranges of any alignment, piece by piece: what is smaller than a sector is read, changed and written. Waits for
 * locks, memory, quiet ranges and the key; each range lies inside the volume, as the caller has checked.
 */

import { Budget } from "../base/budget.ts"
import type { RangeLock } from "../base/range-lock.ts"
import type { Store } from "../store/store.ts"
import type { QuietRange } from "./quiet-range.ts"
import { closing, type VolumeKey } from "./volume-key.ts"

/** Asked between the steps of a long request: false ends it with ESHUTDOWN. */
export type Wanted = () => boolean

/** Bytes moved at once, a multiple of every sector size: longer requests go piece by piece. */
const SLICE = 1 << 20
/** Bytes of ciphertext and of unaligned plaintext held by all reads, or all writes, together. */
const SCRATCH = 8 << 20
/** Of a write past the page cache: what a disk's memory has in one piece. */
const PIECE = 128 << 10
const ZEROES = Buffer.alloc(SLICE)

/**
 * The enclave takes 8-byte aligned addresses. Zeroed: whatever goes wrong with
 * what is to fill it, no store or client is given what the heap held before.
 */
export const aligned = (length: number): Buffer => Buffer.alloc(length)
const isAligned = (bytes: Uint8Array): boolean => bytes.byteOffset % 8 === 0

interface Slice {
  /** Whole sectors. */
  readonly start: number
  readonly end: number
}

export interface SlowPathParts {
  readonly store: Store
  /** Bytes; where the segment starts in the store. */
  readonly offset: number
  readonly sectorSize: number
  /** Everything goes past the page cache. */
  readonly direct: boolean
  readonly key: VolumeKey
  readonly locks: RangeLock
  readonly quiet: QuietRange
}

export class SlowPath {
  readonly #parts: SlowPathParts
  readonly #writeScratch = new Budget(SCRATCH)
  /** Of its own: a disk that takes no writes must not keep reads waiting. */
  readonly #readScratch = new Budget(SCRATCH)

  constructor(parts: SlowPathParts) {
    this.#parts = parts
  }

  /** The sectors that [offset, last) touches, piece by piece. */
  *#slices(offset: number, last: number): Generator<Slice> {
    const { sectorSize } = this.#parts
    const end = Math.ceil(last / sectorSize) * sectorSize
    for (let start = offset - (offset % sectorSize); start < end; ) {
      const next = Math.min(end, start + SLICE)
      yield { start, end: next }
      start = next
    }
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
    await this.#parts.store.read(this.#parts.offset + offset, ciphertext)
    await this.#parts.key.crypt(true, offset, ciphertext, plaintext)
  }

  /** Fills `into`, which must not be looked at before this has resolved. */
  async read(offset: number, into: Uint8Array, wanted: Wanted): Promise<void> {
    const { quiet } = this.#parts
    const last = offset + into.length
    for (const slice of into.length === 0 ? [] : this.#slices(offset, last)) {
      const length = slice.end - slice.start
      const target = into.subarray(Math.max(0, slice.start - offset), slice.end - offset)
      const whole = target.length === length && isAligned(target)
      const moved = async () => {
        if (!wanted()) throw closing()
        if (quiet.covers(slice.start, slice.end)) return false
        const ended = quiet.read()
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
      do await quiet.passed(slice.start, slice.end)
      while (!(await this.#withScratch(this.#readScratch, whole ? length : 2 * length, moved)))
    }
  }

  /**
   * `plaintext` must not change until this has resolved. True: all of it is on stable storage, as `fua` asks for where
   * that costs less than a flush.
   */
  write(offset: number, plaintext: Uint8Array, fua: boolean, wanted: Wanted): Promise<boolean> {
    const { sectorSize, locks } = this.#parts
    const last = offset + plaintext.length
    const start = offset - (offset % sectorSize)
    const end = Math.ceil(last / sectorSize) * sectorSize
    // One that is moved in one piece: a flush after many costs less than each with its own.
    const durable = fua && plaintext.length <= PIECE
    return locks.with(start, end, async () => {
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

  /** Whole sectors that the caller holds. */
  async writeHeld(offset: number, plaintext: Uint8Array): Promise<void> {
    await this.#writeSlice({ start: offset, end: offset + plaintext.length }, 0, plaintext, false)
  }

  /**
   * Whole sectors past the page cache, where the store is opened so: its pieces are under way together, and with those
   * of other requests. False: something of it was not written, and is for who waits for a key and knows what to say.
   */
  async #writePast(start: number, source: Uint8Array, durable: boolean): Promise<boolean> {
    const { direct, key } = this.#parts
    const { disk } = key
    if (disk === null || !direct) return false
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
    const { store, offset, sectorSize, key } = this.#parts
    const length = end - start
    const whole = source.length === length && isAligned(source)
    return this.#withScratch(this.#writeScratch, whole ? length : 2 * length, async () => {
      if (whole && (await this.#writePast(start, source, durable))) return durable
      const ciphertext = aligned(length)
      const plaintext = whole ? source : aligned(length)
      if (!whole) {
        const edge = (at: number) =>
          this.#readSectors(
            start + at,
            ciphertext.subarray(at, at + sectorSize),
            plaintext.subarray(at, at + sectorSize),
          )
        // Only the sectors at the two edges hold bytes to be kept.
        if (from > 0 || source.length < sectorSize) await edge(0)
        if (from + source.length < length && length > sectorSize) await edge(length - sectorSize)
        plaintext.set(source, from)
      }
      await key.crypt(false, start, plaintext, ciphertext)
      await store.write(offset + start, ciphertext)
      return false
    })
  }

  /** Writes encrypted zeros. */
  async zero(offset: number, length: number, wanted: Wanted): Promise<void> {
    for (let done = 0; done < length; ) {
      // Parts end on sectors, so that only the two ends are read first.
      const part = Math.min(length - done, SLICE - ((offset + done) % this.#parts.sectorSize))
      await this.write(offset + done, ZEROES.subarray(0, part), false, wanted)
      done += part
    }
  }

  /** Brings ciphertext into the system's cache, as a later read would; needs no key. */
  async cache(offset: number, length: number, wanted: Wanted): Promise<void> {
    const { store, offset: segment } = this.#parts
    for (const { start, end } of length === 0 ? [] : this.#slices(offset, offset + length)) {
      await this.#withScratch(this.#readScratch, end - start, async () => {
        if (!wanted()) throw closing()
        await store.read(segment + start, aligned(end - start))
      })
    }
  }

  /** Gives the whole sectors of the range back; what they read as afterwards is undefined. */
  async discard(offset: number, length: number): Promise<void> {
    const { store, offset: segment, sectorSize, locks } = this.#parts
    const start = Math.ceil(offset / sectorSize) * sectorSize
    const end = offset + length - ((offset + length) % sectorSize)
    if (start < end) await locks.with(start, end, () => store.discard(segment + start, end - start))
  }
}
