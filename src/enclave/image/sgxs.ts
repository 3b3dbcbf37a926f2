/**
 * The measurement stream of an enclave, and its SHA-256, MRENCLAVE (SDM 3D,
 * 38.4.1): one 64-byte ECREATE record, an EADD record for each page and, when
 * the page is measured, an EEXTEND record and the data of each 256 bytes. An
 * .sgxs file is this stream written down; its extended form marks data that
 * is loaded but not measured with UNMEASRD instead of EEXTEND.
 */
import { Exit, TresorError } from "../../base/errors.ts"
import { type EnclaveImage, PAGE_SIZE, Secinfo } from "./elf.ts"

export interface Sha256 {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array
}

/** `() => createHash("sha256")`. */
export type NewSha256 = () => Sha256

export interface Measurement {
  readonly mrenclave: Uint8Array
  /** ELRANGE, bytes. */
  readonly size: number
  /** Pages per SSA frame. */
  readonly ssaFrameSize: number
  /** Pages added. */
  readonly pages: number
  /** Bytes added whose content is not measured. */
  readonly heap: number
  /** TCS pages. */
  readonly threads: number
}

const CHUNK = 256
const RECORD = 64

// Tags are eight ASCII bytes, NUL padded; as little-endian numbers they compare in one step.
const Tag = {
  ecreate: 0x0045_5441_4552_4345n,
  eadd: 0x0000_0000_4444_4145n,
  eextend: 0x0044_4e45_5458_4545n,
  unmeasured: 0x4452_5341_454d_4e55n,
  unsized: 0x0044_455a_4953_4e55n,
} as const

function ecreate(size: number, ssaFrameSize: number): Uint8Array {
  const bytes = new Uint8Array(RECORD)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, Tag.ecreate, true)
  view.setUint32(8, ssaFrameSize, true)
  view.setBigUint64(12, BigInt(size), true)
  return bytes
}

/**
 * The stream, piece by piece. A piece is only valid until the next is asked
 * for: an image has up to half a million of them, and they share buffers.
 */
export function* sgxsStream(image: EnclaveImage): Generator<Uint8Array> {
  yield ecreate(image.size, image.ssaFrameSize)
  const add = new Uint8Array(RECORD)
  const addView = new DataView(add.buffer)
  addView.setBigUint64(0, Tag.eadd, true)
  const extend = new Uint8Array(RECORD)
  const extendView = new DataView(extend.buffer)
  extendView.setBigUint64(0, Tag.eextend, true)
  const page = new Uint8Array(PAGE_SIZE)
  for (const segment of image.segments) {
    for (let start = 0; start < segment.size; start += PAGE_SIZE) {
      const offset = segment.offset + start
      addView.setBigUint64(8, BigInt(offset), true)
      addView.setBigUint64(16, BigInt(segment.secinfoFlags), true)
      yield add
      if (!segment.measured) continue
      page.fill(0)
      page.set(segment.data.subarray(start, start + PAGE_SIZE))
      for (let at = 0; at < PAGE_SIZE; at += CHUNK) {
        extendView.setBigUint64(8, BigInt(offset + at), true)
        yield extend
        yield page.subarray(at, at + CHUNK)
      }
    }
  }
}

/** MRENCLAVE and size of an image. */
export function measureImage(image: EnclaveImage, newSha256: NewSha256): Measurement {
  const hash = newSha256()
  for (const piece of sgxsStream(image)) hash.update(piece)
  return {
    mrenclave: new Uint8Array(hash.digest()),
    size: image.size,
    ssaFrameSize: image.ssaFrameSize,
    pages: image.segments.reduce((sum, s) => sum + s.size / PAGE_SIZE, 0),
    heap: image.heapSize,
    threads: image.threads.length,
  }
}

function fail(offset: number, fact: string): TresorError {
  return new TresorError("IMAGE_BAD_SGXS", Exit.wrongDevice, `Cannot read the SGXS stream: ${fact} at byte ${offset}`)
}

export function isSgxs(bytes: Uint8Array): boolean {
  if (bytes.length < RECORD) return false
  const tag = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  return tag === Tag.ecreate || tag === Tag.unsized
}

/**
 * Reads and measures an .sgxs file. Checks what ECREATE, EADD and EEXTEND
 * check. Throws TresorError IMAGE_BAD_SGXS naming the record.
 */
export function measureSgxs(bytes: Uint8Array, newSha256: NewSha256): Measurement {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const hash = newSha256()
  const need = (at: number, length: number): void => {
    if (at + length > bytes.length) throw fail(at, "a truncated record")
  }
  const u64 = (at: number): number => {
    const value = view.getBigUint64(at, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw fail(at, "an impossibly large number")
    return Number(value)
  }
  const zeros = (from: number, to: number): void => {
    for (let at = from; at < to; at++) if (bytes[at] !== 0) throw fail(at, "a reserved byte that is not zero")
  }

  need(0, RECORD)
  const first = view.getBigUint64(0, true)
  if (first === Tag.unsized) throw fail(0, "an UNSIZED record (an enclave of unknown size has no measurement)")
  if (first !== Tag.ecreate) throw fail(0, "no ECREATE record")
  const ssaFrameSize = view.getUint32(8, true)
  const size = u64(12)
  if (ssaFrameSize === 0) throw fail(8, "SSAFRAMESIZE 0")
  if (!Number.isSafeInteger(Math.log2(size)) || size < 2 * PAGE_SIZE)
    throw fail(12, "a size that is not a power of two")
  zeros(20, RECORD)
  hash.update(bytes.subarray(0, RECORD))

  let pages = 0
  let threads = 0
  let heapPages = 0
  const added = new Set<number>()
  // The page that data records refer to, and what has been seen of it.
  let page = -1
  let chunks = new Set<number>()
  let measured = 0
  let isTcs = false
  const finishPage = (): void => {
    if (page < 0) return
    pages++
    if (isTcs) threads++
    else if (measured === 0) heapPages++
  }
  for (let at = RECORD; at < bytes.length; ) {
    need(at, RECORD)
    const tag = view.getBigUint64(at, true)
    const offset = u64(at + 8)
    if (tag === Tag.eadd) {
      finishPage()
      const flags = u64(at + 16)
      const type = flags & Secinfo.typeMask
      if (offset % PAGE_SIZE !== 0) throw fail(at, "an EADD that is not page aligned")
      if (offset + PAGE_SIZE > size) throw fail(at, "an EADD beyond the enclave's size")
      if (added.has(offset)) throw fail(at, `a second EADD of page 0x${offset.toString(16)}`)
      if (type !== Secinfo.tcs && type !== Secinfo.reg) throw fail(at, `an EADD with page type ${type >> 8}`)
      if (type === Secinfo.tcs && (flags & 7) !== 0) throw fail(at, "a TCS page with permissions")
      if ((flags & (Secinfo.w | Secinfo.r)) === Secinfo.w) throw fail(at, "a writable page that cannot be read")
      if ((flags & ~(Secinfo.typeMask | 7)) !== 0) throw fail(at, "an EADD with reserved SECINFO flags")
      zeros(at + 24, at + RECORD)
      added.add(offset)
      page = offset
      chunks = new Set()
      measured = 0
      isTcs = type === Secinfo.tcs
      hash.update(bytes.subarray(at, at + RECORD))
      at += RECORD
    } else if (tag === Tag.eextend || tag === Tag.unmeasured) {
      need(at, RECORD + CHUNK)
      if (page < 0 || offset < page || offset >= page + PAGE_SIZE) throw fail(at, "data for a page that was not added")
      if (offset % CHUNK !== 0) throw fail(at, "data that is not aligned to 256 bytes")
      if (chunks.has(offset)) throw fail(at, "data given twice")
      zeros(at + 16, at + RECORD)
      chunks.add(offset)
      if (tag === Tag.eextend) {
        measured++
        hash.update(bytes.subarray(at, at + RECORD + CHUNK))
      }
      at += RECORD + CHUNK
    } else {
      throw fail(at, "an unknown record")
    }
  }
  finishPage()
  return { mrenclave: new Uint8Array(hash.digest()), size, ssaFrameSize, pages, heap: heapPages * PAGE_SIZE, threads }
}
