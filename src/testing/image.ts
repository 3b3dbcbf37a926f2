/** Enclave ELF files made field by field, for the tests of the image tool. */

export const FLAGS = { x: 1, w: 2, r: 4, tcs: 0x0010_0000, unmeasured: 0x0020_0000, reserved: 0x0040_0000 } as const
export const ENCLU = [0x0f, 0x01, 0xd7] as const

export const CONF_TEXT = `size = 0x10000
ssa_frame_size = 1
isv_prod_id = 7
isv_svn = 2
misc_select = 0
attributes = 4
attribute_mask = 0xffffffffffffffff
xfrm = 3
xfrm_mask = 0xffffffffffffff1b
`

export interface ElfParts {
  readonly segments: readonly {
    readonly address: number
    readonly flags: number
    readonly data: Uint8Array
    readonly memorySize: number
  }[]
  readonly extraHeaders?: readonly { readonly type: number; readonly flags: number }[]
  readonly sections?: readonly {
    readonly name: string
    readonly type: number
    readonly flags: number
    readonly size: number
  }[]
  readonly symbol?: { readonly name: string; readonly value: number }
}

interface TcsFields {
  readonly state?: bigint
  readonly flags?: bigint
  readonly ossa?: bigint
  readonly cssa?: number
  readonly nssa?: number
  readonly oentry?: bigint
  readonly aep?: bigint
  readonly ofsBase?: bigint
  readonly ogsBase?: bigint
  readonly fsLimit?: number
  readonly gsLimit?: number
}

export function tcsPage(fields: TcsFields): Uint8Array {
  const page = new Uint8Array(4096)
  const view = new DataView(page.buffer)
  view.setBigUint64(0, fields.state ?? 0n, true)
  view.setBigUint64(8, fields.flags ?? 0n, true)
  view.setBigUint64(16, fields.ossa ?? 0x4000n, true)
  view.setUint32(24, fields.cssa ?? 0, true)
  view.setUint32(28, fields.nssa ?? 1, true)
  view.setBigUint64(32, fields.oentry ?? 0n, true)
  view.setBigUint64(40, fields.aep ?? 0n, true)
  view.setBigUint64(48, fields.ofsBase ?? 0n, true)
  view.setBigUint64(56, fields.ogsBase ?? 0n, true)
  view.setUint32(64, fields.fsLimit ?? 0xffff_ffff, true)
  view.setUint32(68, fields.gsLimit ?? 0xffff_ffff, true)
  return page
}

/** Text, data with stack and SSA, one TCS, heap, dynamic heap; 64 KiB in all. */
export function sampleParts(): ElfParts {
  const text = new Uint8Array(32).fill(0x90)
  text.set(ENCLU, 16)
  return {
    segments: [
      { address: 0, flags: FLAGS.r | FLAGS.x, data: text, memorySize: 0x1000 },
      { address: 0x2000, flags: FLAGS.r | FLAGS.w, data: Uint8Array.of(1, 2, 3, 4, 5), memorySize: 0x2ff0 },
      { address: 0x5000, flags: FLAGS.r | FLAGS.w | FLAGS.tcs, data: tcsPage({}), memorySize: 0x1000 },
      { address: 0x8000, flags: FLAGS.r | FLAGS.w | FLAGS.unmeasured, data: new Uint8Array(0), memorySize: 0x4000 },
      { address: 0xc000, flags: FLAGS.r | FLAGS.w | FLAGS.reserved, data: new Uint8Array(0), memorySize: 0x2000 },
    ],
  }
}

export function buildElf({ segments, extraHeaders = [], sections = [], symbol }: ElfParts): Uint8Array {
  const headerCount = segments.length + extraHeaders.length
  const names: number[] = [0]
  const nameOf = (name: string): number => {
    const at = names.length
    names.push(...new TextEncoder().encode(name), 0)
    return at
  }
  const all: { name: number; type: number; flags: number; offset: number; size: number; link: number }[] = [
    { name: 0, type: 0, flags: 0, offset: 0, size: 0, link: 0 },
    ...sections.map((s) => ({ name: nameOf(s.name), type: s.type, flags: s.flags, offset: 64, size: s.size, link: 0 })),
  ]
  let at = 64 + 56 * headerCount
  const pieces: { at: number; bytes: Uint8Array }[] = []
  const place = (bytes: Uint8Array): number => {
    const offset = at
    pieces.push({ at, bytes })
    at += bytes.length
    return offset
  }
  const placed = segments.map((segment) => ({ ...segment, fileOffset: place(segment.data) }))
  if (symbol !== undefined) {
    const entry = new Uint8Array(48)
    const view = new DataView(entry.buffer)
    view.setUint32(24, 1, true)
    view.setBigUint64(32, BigInt(symbol.value), true)
    all.push({ name: nameOf(".symtab"), type: 2, flags: 0, offset: place(entry), size: 48, link: all.length + 1 })
    const strings = new TextEncoder().encode(`\0${symbol.name}\0`)
    all.push({ name: nameOf(".strtab"), type: 3, flags: 0, offset: place(strings), size: strings.length, link: 0 })
  }
  const namesName = nameOf(".shstrtab")
  all.push({ name: namesName, type: 3, flags: 0, offset: place(Uint8Array.from(names)), size: names.length, link: 0 })
  const sectionTable = at

  const bytes = new Uint8Array(sectionTable + 64 * all.length)
  const view = new DataView(bytes.buffer)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  view.setUint16(16, 2, true)
  view.setUint16(18, 62, true)
  view.setUint32(20, 1, true)
  view.setBigUint64(32, 64n, true)
  view.setBigUint64(40, BigInt(sectionTable), true)
  view.setUint16(52, 64, true)
  view.setUint16(54, 56, true)
  view.setUint16(56, headerCount, true)
  view.setUint16(58, 64, true)
  view.setUint16(60, all.length, true)
  view.setUint16(62, all.length - 1, true)
  const headers = [
    ...placed.map((s) => ({ ...s, type: 1, fileSize: s.data.length })),
    ...extraHeaders.map((h) => ({ ...h, fileOffset: 64, address: 0, fileSize: 8, memorySize: 8 })),
  ]
  for (const [i, header] of headers.entries()) {
    const to = 64 + 56 * i
    view.setUint32(to, header.type, true)
    view.setUint32(to + 4, header.flags, true)
    view.setBigUint64(to + 8, BigInt(header.fileOffset), true)
    view.setBigUint64(to + 16, BigInt(header.address), true)
    view.setBigUint64(to + 24, BigInt(header.address), true)
    view.setBigUint64(to + 32, BigInt(header.fileSize), true)
    view.setBigUint64(to + 40, BigInt(header.memorySize), true)
  }
  for (const piece of pieces) bytes.set(piece.bytes, piece.at)
  for (const [i, section] of all.entries()) {
    const to = sectionTable + 64 * i
    view.setUint32(to, section.name, true)
    view.setUint32(to + 4, section.type, true)
    view.setBigUint64(to + 8, BigInt(section.flags), true)
    view.setBigUint64(to + 24, BigInt(section.offset), true)
    view.setBigUint64(to + 32, BigInt(section.size), true)
    view.setUint32(to + 40, section.link, true)
  }
  return bytes
}
