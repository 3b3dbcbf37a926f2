/**
 * ELF64 to enclave pages. The image is linked at address 0 and loaded as it
 * is: whatever would need a loader (relocations, GOT, a dynamic section, an
 * interpreter, TLS) is refused here, because fixing it up would change
 * MRENCLAVE or leave the enclave to trust its host.
 *
 * Program headers are pages in load order. OS-specific p_flags bits say what
 * SGX calls the page (see Flag below).
 */
import { Exit, TresorError } from "../../base/errors.ts"
import type { EnclaveConf } from "./conf.ts"

export const PAGE_SIZE = 4096

/** p_flags; the upper three lie in PF_MASKOS. */
const Flag = { x: 1, w: 2, r: 4, tcs: 0x0010_0000, unmeasured: 0x0020_0000, reserved: 0x0040_0000 } as const

/** SECINFO.FLAGS (SDM 3D, 38.11). */
export const Secinfo = { r: 1, w: 2, x: 4, tcs: 0x100, reg: 0x200, typeMask: 0xff00 } as const

export interface ImageSegment {
  /** Bytes from the enclave's base; page aligned. */
  readonly offset: number
  /** Bytes; whole pages. */
  readonly size: number
  /** The file's bytes; what `size` has beyond them is zero. A view of the ELF. */
  readonly data: Uint8Array
  /** R1 W2 X4 | page type << 8; TCS pages have no permission bits. */
  readonly secinfoFlags: number
  /** False: EADD only. The content is not attested and the enclave trusts none of it. */
  readonly measured: boolean
  readonly kind: "tcs" | "reg" | "heap"
}

export interface Thread {
  /** Of the TCS page. */
  readonly offset: number
  readonly ossa: number
  readonly nssa: number
  readonly oentry: number
  readonly ofsBase: number
  readonly ogsBase: number
}

export interface EnclaveImage {
  /** ELRANGE. */
  readonly size: number
  /** Pages. */
  readonly ssaFrameSize: number
  /** MISCSELECT, ATTRIBUTES.FLAGS and XFRM for the SECS, before any the SIGSTRUCT's masks leave open. */
  readonly miscSelect: number
  readonly attributes: bigint
  readonly xfrm: bigint
  /** In load order. */
  readonly segments: readonly ImageSegment[]
  readonly threads: readonly Thread[]
  /** Bytes added but not measured. */
  readonly heapSize: number
  /** Range that is not added at load: EAUG on SGX2, committed on demand by the software backend. */
  readonly dynamic: { readonly offset: number; readonly size: number } | null
  /** Offset of the one ENCLU instruction; two bytes of nop follow it. */
  readonly encluSite: number
}

function fail(fact: string): TresorError {
  return new TresorError("IMAGE_REFUSED", Exit.wrongDevice, `Cannot use this enclave image: ${fact}`)
}

const hex = (value: number): string => `0x${value.toString(16)}`
const roundUp = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE

const ET_EXEC = 2
const EM_X86_64 = 62
const PT = { load: 1, dynamic: 2, interp: 3, note: 4, tls: 7, gnuStack: 0x6474_e551, gnuRelro: 0x6474_e552 } as const
const SHT = { symtab: 2, strtab: 3, rela: 4, nobits: 8, dynamic: 6, rel: 9, relr: 19 } as const
const SHF_ALLOC = 2

interface ProgramHeader {
  readonly type: number
  readonly flags: number
  readonly fileOffset: number
  readonly address: number
  readonly fileSize: number
  readonly memorySize: number
}

interface Section {
  readonly name: string
  readonly type: number
  readonly flags: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

class Elf {
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u16(offset: number): number {
    this.#need(offset, 2)
    return this.#view.getUint16(offset, true)
  }

  u32(offset: number): number {
    this.#need(offset, 4)
    return this.#view.getUint32(offset, true)
  }

  /** u64 that must fit a number; anything larger could not lie in a file or an ELRANGE. */
  u64(offset: number): number {
    this.#need(offset, 8)
    const value = this.#view.getBigUint64(offset, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw fail(`the ELF field at ${hex(offset)} is impossibly large`)
    return Number(value)
  }

  slice(offset: number, size: number, what: string): Uint8Array {
    if (offset + size > this.bytes.length) throw fail(`${what} reaches beyond the end of the file`)
    return this.bytes.subarray(offset, offset + size)
  }

  #need(offset: number, size: number): void {
    if (offset + size > this.bytes.length) throw fail("the ELF file is truncated")
  }
}

function readProgramHeaders(elf: Elf): ProgramHeader[] {
  const table = elf.u64(32)
  const entry = elf.u16(54)
  const count = elf.u16(56)
  if (entry !== 56) throw fail(`its program headers are ${entry} bytes each, not 56`)
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * entry
    return {
      type: elf.u32(at),
      flags: elf.u32(at + 4),
      fileOffset: elf.u64(at + 8),
      address: elf.u64(at + 16),
      fileSize: elf.u64(at + 32),
      memorySize: elf.u64(at + 40),
    }
  })
}

function text(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset)
  return String.fromCharCode(...bytes.subarray(offset, end < 0 ? bytes.length : Math.min(end, offset + 256)))
}

/** Empty when the file was stripped of its section headers. */
function readSections(elf: Elf): Section[] {
  const table = elf.u64(40)
  const entry = elf.u16(58)
  const count = elf.u16(60)
  if (table === 0 || count === 0) return []
  if (entry !== 64) throw fail(`its section headers are ${entry} bytes each, not 64`)
  const names = table + elf.u16(62) * entry
  const strings = elf.slice(elf.u64(names + 24), elf.u64(names + 32), "the section name table")
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * entry
    return {
      name: text(strings, elf.u32(at)),
      type: elf.u32(at + 4),
      flags: elf.u64(at + 8),
      offset: elf.u64(at + 24),
      size: elf.u64(at + 32),
      link: elf.u32(at + 40),
    }
  })
}

/** Section headers are not loaded, so their absence proves nothing; what they do show is refused. */
function refuseLoaderWork(headers: readonly ProgramHeader[], sections: readonly Section[]): void {
  for (const header of headers) {
    if (header.type === PT.interp) throw fail("it asks for an interpreter (PT_INTERP)")
    if (header.type === PT.dynamic) throw fail("it has a dynamic section (PT_DYNAMIC)")
    if (header.type === PT.tls) throw fail("it has thread-local storage (PT_TLS)")
    if (header.type === PT.note) throw fail("it has a note segment (PT_NOTE), which differs between builds")
    if (header.type === PT.gnuStack && (header.flags & Flag.x) !== 0) throw fail("it asks for an executable stack")
  }
  for (const section of sections) {
    if (section.size === 0) continue
    if (section.type === SHT.rela || section.type === SHT.rel || section.type === SHT.relr) {
      throw fail(`it has relocations (${section.name}, ${section.size} bytes)`)
    }
    if (section.type === SHT.dynamic) throw fail(`it has a dynamic section (${section.name})`)
    if (/^\.got(\.|$)/.test(section.name)) {
      throw fail(`it has a global offset table (${section.name}, ${section.size} bytes)`)
    }
    if ((section.flags & SHF_ALLOC) !== 0 && section.name.startsWith(".note")) {
      throw fail(`it has a note section (${section.name}), which differs between builds`)
    }
  }
}

type Range = { readonly offset: number; readonly size: number }

function readSegments(elf: Elf, headers: readonly ProgramHeader[], enclaveSize: number) {
  const segments: ImageSegment[] = []
  const ranges: Range[] = []
  let dynamic: Range | null = null
  for (const header of headers) {
    if (header.type !== PT.load || header.memorySize === 0) continue
    const where = `the segment at ${hex(header.address)}`
    if (header.address % PAGE_SIZE !== 0) throw fail(`${where} is not page aligned`)
    if (header.fileSize > header.memorySize) throw fail(`${where} has more bytes in the file than in memory`)
    const size = roundUp(header.memorySize)
    if (header.address + size > enclaveSize)
      throw fail(`${where} reaches beyond the enclave's size, ${hex(enclaveSize)}`)
    const overlap = ranges.find((r) => header.address < r.offset + r.size && r.offset < header.address + size)
    if (overlap !== undefined) throw fail(`${where} overlaps the one at ${hex(overlap.offset)}`)
    ranges.push({ offset: header.address, size })

    const permissions =
      (header.flags & Flag.r ? Secinfo.r : 0) |
      (header.flags & Flag.w ? Secinfo.w : 0) |
      (header.flags & Flag.x ? Secinfo.x : 0)
    if ((permissions & Secinfo.w) !== 0 && (permissions & Secinfo.x) !== 0) {
      throw fail(`${where} is writable and executable`)
    }
    if ((permissions & Secinfo.r) === 0) throw fail(`${where} is not readable`)
    const special = header.flags & (Flag.tcs | Flag.unmeasured | Flag.reserved)
    if ((special & (special - 1)) !== 0) throw fail(`${where} is of more than one kind (flags ${hex(header.flags)})`)
    if (special !== 0 && special !== Flag.tcs) {
      // Unattested content must never be run, nor be taken for what the file says.
      if (permissions !== (Secinfo.r | Secinfo.w)) throw fail(`${where} is heap but not read-write`)
      if (header.fileSize !== 0) throw fail(`${where} is heap but has content in the file`)
    }
    if (special === Flag.reserved) {
      if (dynamic !== null) throw fail(`${where} is a second dynamic heap`)
      dynamic = { offset: header.address, size }
      continue
    }
    segments.push({
      offset: header.address,
      size,
      data: elf.slice(header.fileOffset, header.fileSize, where),
      secinfoFlags: special === Flag.tcs ? Secinfo.tcs : Secinfo.reg | permissions,
      measured: special !== Flag.unmeasured,
      kind: special === Flag.tcs ? "tcs" : special === Flag.unmeasured ? "heap" : "reg",
    })
  }
  if (segments.length === 0) throw fail("it has no loadable segment")
  return { segments, dynamic }
}

/** SDM 3D 38.8, and what EADD and EENTER ask of a TCS. */
function readThreads(segments: readonly ImageSegment[], enclaveSize: number, ssaFrameSize: number): Thread[] {
  const within = (offset: number, size: number, accept: (segment: ImageSegment) => boolean): boolean =>
    segments.some((s) => accept(s) && offset >= s.offset && offset + size <= s.offset + s.size)
  const threads: Thread[] = []
  const frames: Range[] = []
  for (const segment of segments.filter((s) => s.kind === "tcs")) {
    for (let start = 0; start < segment.size; start += PAGE_SIZE) {
      const page = new Uint8Array(PAGE_SIZE)
      page.set(segment.data.subarray(start, start + PAGE_SIZE))
      const view = new DataView(page.buffer)
      const where = `the TCS at ${hex(segment.offset + start)}`
      const offset64 = (at: number, name: string): number => {
        const value = view.getBigUint64(at, true)
        if (value >= BigInt(enclaveSize)) throw fail(`${where} has ${name} outside the enclave`)
        return Number(value)
      }
      if (view.getBigUint64(0, true) !== 0n) throw fail(`${where} has STATE set`)
      if (view.getBigUint64(8, true) !== 0n) throw fail(`${where} has FLAGS set`)
      const ossa = offset64(16, "OSSA")
      if (view.getUint32(24, true) !== 0) throw fail(`${where} has CSSA set`)
      const nssa = view.getUint32(28, true)
      const oentry = offset64(32, "OENTRY")
      if (view.getBigUint64(40, true) !== 0n) throw fail(`${where} has AEP set`)
      const ofsBase = offset64(48, "OFSBASE")
      const ogsBase = offset64(56, "OGSBASE")
      if (ossa % PAGE_SIZE !== 0) throw fail(`${where} has an OSSA that is not page aligned, ${hex(ossa)}`)
      if (ofsBase % PAGE_SIZE !== 0) throw fail(`${where} has an OFSBASE that is not page aligned, ${hex(ofsBase)}`)
      if (ogsBase % PAGE_SIZE !== 0) throw fail(`${where} has an OGSBASE that is not page aligned, ${hex(ogsBase)}`)
      // One frame: the hardware then refuses to enter a thread that was interrupted.
      if (nssa !== 1) throw fail(`${where} has NSSA ${nssa}; it must be 1`)
      if ((view.getUint32(64, true) & 0xfff) !== 0xfff) throw fail(`${where} has an FSLIMIT that EADD refuses`)
      if ((view.getUint32(68, true) & 0xfff) !== 0xfff) throw fail(`${where} has a GSLIMIT that EADD refuses`)
      if (page.subarray(72).some((byte) => byte !== 0)) throw fail(`${where} has reserved bytes set`)
      if (!within(oentry, 1, (s) => (s.secinfoFlags & Secinfo.x) !== 0)) {
        throw fail(`${where} has an OENTRY outside executable pages, ${hex(oentry)}`)
      }
      const frame = { offset: ossa, size: nssa * ssaFrameSize * PAGE_SIZE }
      const isWritable = (s: ImageSegment) => s.kind === "reg" && (s.secinfoFlags & Secinfo.w) !== 0
      if (!within(frame.offset, frame.size, isWritable)) {
        throw fail(`${where} has an OSSA whose frame is not in writable measured pages, ${hex(ossa)}`)
      }
      if (frames.some((f) => frame.offset < f.offset + f.size && f.offset < frame.offset + frame.size)) {
        throw fail(`${where} shares its SSA frame with another thread`)
      }
      frames.push(frame)
      threads.push({ offset: segment.offset + start, ossa, nssa, oentry, ofsBase, ogsBase })
    }
  }
  if (threads.length === 0) throw fail("it has no TCS page")
  return threads
}

/** Offsets of `0f 01 d7` in executable pages, wherever instruction borders fall: a jump may land anywhere. */
function findEnclu(segments: readonly ImageSegment[]): number[] {
  const sites: number[] = []
  for (const { data, offset, secinfoFlags } of segments) {
    if ((secinfoFlags & Secinfo.x) === 0) continue
    for (let at = data.indexOf(0x0f); at >= 0; at = data.indexOf(0x0f, at + 1)) {
      if (data[at + 1] === 0x01 && data[at + 2] === 0xd7) sites.push(offset + at)
    }
  }
  return sites
}

function checkEncluPadding(segments: readonly ImageSegment[], site: number): void {
  const segment = segments.find((s) => site >= s.offset && site < s.offset + s.size)!
  const [first, second] = segment.data.subarray(site - segment.offset + 3, site - segment.offset + 5)
  const isNop = (first === 0x90 || first === 0x66) && second === 0x90
  if (!isNop) throw fail(`its ENCLU at ${hex(site)} is not followed by two bytes of nop`)
}

/** When the symbol is there it must name the site that is. */
function checkEncluSymbol(elf: Elf, sections: readonly Section[], site: number): void {
  for (const section of sections) {
    if (section.type !== SHT.symtab) continue
    const table = sections[section.link]
    if (table === undefined || table.type !== SHT.strtab) throw fail("its symbol table has no strings")
    const strings = elf.slice(table.offset, table.size, "the symbol names")
    for (let at = section.offset; at + 24 <= section.offset + section.size; at += 24) {
      if (text(strings, elf.u32(at)) === "tresor_enclu_site" && elf.u64(at + 8) !== site) {
        throw fail(`tresor_enclu_site is ${hex(elf.u64(at + 8))} but its ENCLU is at ${hex(site)}`)
      }
    }
  }
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/** Throws TresorError IMAGE_REFUSED naming the first fact that disqualifies the file. */
export function parseImage(bytes: Uint8Array, conf: EnclaveConf): EnclaveImage {
  if (!isElf(bytes)) throw fail("it is not an ELF file")
  const elf = new Elf(bytes)
  if (bytes.length < 64) throw fail("the ELF file is truncated")
  if (bytes[4] !== 2 || bytes[5] !== 1) throw fail("it is not a 64-bit little-endian ELF")
  if (elf.u16(18) !== EM_X86_64) throw fail(`it is for machine ${elf.u16(18)}, not x86-64`)
  if (elf.u16(16) !== ET_EXEC) throw fail(`it is of ELF type ${elf.u16(16)}, not a fixed executable (2)`)
  const { size, ssaFrameSize } = conf
  if (!Number.isSafeInteger(Math.log2(size)) || size < 2 * PAGE_SIZE) {
    throw fail(`its size ${hex(size)} is not a power of two of at least ${2 * PAGE_SIZE}`)
  }
  const headers = readProgramHeaders(elf)
  const sections = readSections(elf)
  refuseLoaderWork(headers, sections)
  const { segments, dynamic } = readSegments(elf, headers, size)
  const threads = readThreads(segments, size, ssaFrameSize)
  const sites = findEnclu(segments)
  const [encluSite] = sites
  if (encluSite === undefined) throw fail("it has no ENCLU instruction")
  if (sites.length > 1) {
    throw fail(`it has ${sites.length} ENCLU sites (${sites.map(hex).join(", ")}); one is allowed`)
  }
  checkEncluPadding(segments, encluSite)
  checkEncluSymbol(elf, sections, encluSite)
  return {
    size,
    ssaFrameSize,
    miscSelect: conf.miscSelect,
    attributes: conf.attributes,
    xfrm: conf.xfrm,
    segments,
    threads,
    heapSize: segments.reduce((sum, s) => sum + (s.kind === "heap" ? s.size : 0), 0),
    dynamic,
    encluSite,
  }
}
