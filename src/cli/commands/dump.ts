/** `tresor dump`: the header as luksDump shows it, and what Tresor adds. */

import { visibleLine } from "../../base/visible.ts"
import { emitMetadata } from "../../luks2/emit.ts"
import { type Extensible, extra } from "../../luks2/json.ts"
import {
  type ForeignKeyslot,
  type ForeignToken,
  isBackup,
  type LuksDigest,
  type LuksHeader,
  type LuksKeyslot,
  type LuksSegment,
  type Metadata,
} from "../../luks2/metadata.ts"
import { PASS_TOKEN, reencryptionOf } from "../../luks2/reencryption.ts"
import { reencryptionWords } from "../../luks2/reencryption-position.ts"
import type { TresorToken } from "../../luks2/tresor-token.ts"
import { withHeader } from "../keeper.ts"
import { out } from "../output/output.ts"

export interface DumpOptions {
  readonly header?: string
  readonly json?: true
  readonly dumpJsonMetadata?: true
}

/** A name and its value; several lines only where they are of our making. */
type Line = readonly [string, string | { readonly lines: readonly string[] }]

const bytes = (value: bigint | number): string => `${value} [bytes]`
const bits = (size: number): string => `${size * 8} bits`
const INDENT = "\t"
/** Where values begin in keyslots, tokens and digests. */
const WIDTH = 12

/** 16 bytes a line, a space after each, as luksDump. */
function hex(value: Uint8Array): { readonly lines: readonly string[] } {
  const lines: string[] = []
  for (let at = 0; at < value.length; at += 16) {
    lines.push(Array.from(value.subarray(at, at + 16), (byte) => `${byte.toString(16).padStart(2, "0")} `).join(""))
  }
  return { lines }
}

function block(lines: readonly Line[]): string {
  const margin = `\n${INDENT}${" ".repeat(WIDTH)}`
  const said = (value: Line[1]) => (typeof value === "string" ? visibleLine(value) : value.lines.join(margin))
  return lines.map(([name, value]) => `${INDENT}${`${name}:`.padEnd(WIDTH)}${said(value)}\n`).join("")
}

const PRIORITY = ["ignored", "normal", "preferred"] as const

function kdfLines({ kdf }: LuksKeyslot): Line[] {
  if (kdf.type === "pbkdf2") {
    return [
      ["Hash", kdf.hash],
      ["Iterations", String(kdf.iterations)],
    ]
  }
  return [
    ["Time cost", String(kdf.time)],
    ["Memory", String(kdf.memoryKib)],
    ["Threads", String(kdf.cpus)],
  ]
}

/** Members that are only kept: a reencryption's, or those of what is damaged. */
function kept(object: Extensible, name: string): string | null {
  const text = object[extra]?.get(name)
  if (text === undefined) return null
  const value: unknown = JSON.parse(text)
  return typeof value === "string" || typeof value === "number" ? String(value) : null
}

function reencryptLines(keyslot: ForeignKeyslot): Line[] {
  const { area } = keyslot
  const line = (name: string, value: string | null): Line[] => (value === null ? [] : [[name, value]])
  const sums: Line[] = area.type.endsWith("checksum")
    ? [...line("Hash", kept(area, "hash")), ["Hash data", `${kept(area, "sector_size")} [bytes]`]]
    : []
  const shift: Line[] = area.type.startsWith("datashift") ? [["Shift size", `${kept(area, "shift_size")}[bytes]`]] : []
  return [
    ...line("Mode", kept(keyslot, "mode")),
    ...line("Direction", kept(keyslot, "direction")),
    ["Resilience", area.type],
    ...sums,
    ...shift,
  ]
}

function foreignLines(keyslot: ForeignKeyslot): Line[] {
  const size = kept(keyslot, "key_size")
  return [
    ["Key", size === null ? "unknown" : bits(Number(size))],
    ["Priority", PRIORITY[Number(kept(keyslot, "priority") ?? 1)] ?? "invalid"],
    ...(keyslot.type === "reencrypt" ? reencryptLines(keyslot) : []),
    ...(keyslot.fault === undefined ? [] : [["Unusable", keyslot.fault.fact] as const]),
  ]
}

function keyslotLines(slot: number, keyslot: LuksKeyslot | ForeignKeyslot, { digests }: Metadata): Line[] {
  const { area } = keyslot
  const own: Line[] =
    "foreign" in keyslot
      ? foreignLines(keyslot)
      : [
          ["Key", bits(keyslot.keySize)],
          ["Priority", PRIORITY[keyslot.priority ?? 1]],
          ["Cipher", area.encryption ?? "none"],
          ["Cipher key", bits(area.keySize ?? 0)],
          ["PBKDF", keyslot.kdf.type],
          ...kdfLines(keyslot),
          ["Salt", hex(keyslot.kdf.salt)],
          ["AF stripes", String(keyslot.af.stripes)],
          ["AF hash", keyslot.af.hash],
        ]
  const named = [...digests].filter(([, { keyslots }]) => keyslots.includes(slot))
  return [
    ...own,
    ["Area offset", bytes(area.offset)],
    ["Area length", bytes(area.size)],
    ...named.map(([number]): Line => ["Digest ID", String(number)]),
  ]
}

function tresorLines({ kdf, enclave, mac }: TresorToken): Line[] {
  const cost =
    kdf.type === "pbkdf2"
      ? `pbkdf2-${kdf.hash}, ${kdf.iterations} iterations`
      : `${kdf.type}, ${kdf.memoryKib} KiB, ${kdf.time} passes, ${kdf.lanes} lanes`
  return [
    ["KDF", cost],
    [
      "Sealed to",
      enclave.policy === "mrsigner" ? "this signer's enclaves on its machine" : "one enclave on its machine",
    ],
    ["Backend", enclave.backend],
    ["MRSIGNER", enclave.mrsigner],
    ["MRENCLAVE", enclave.mrenclave],
    ["Product", `ISVPRODID ${enclave.isvProdId}, ISVSVN ${enclave.isvSvn}`],
    ["MACs", `segment, keyslots ${[...mac.keyslots.keys()].join(", ") || "none"}`],
  ]
}

/** cryptsetup's own kind of token, with the space it puts. */
function keyringLines(token: ForeignToken): Line[] {
  const description = token.type === "luks2-keyring" ? kept(token, "key_description") : null
  return description === null ? [] : [["Key description", ` ${description}`]]
}

/** How far the reencryption is whose state the token keeps. */
function passLines(token: ForeignToken, metadata: Metadata): Line[] {
  const pending = token.type === PASS_TOKEN ? reencryptionOf(metadata) : null
  return pending === null ? [] : [["State", reencryptionWords(metadata, pending, pending.state?.size ?? null)]]
}

function tokenLines(token: TresorToken | ForeignToken, metadata: Metadata): Line[] {
  const fault: Line[] = "fault" in token && token.fault !== undefined ? [["Unusable", token.fault.fact] as const] : []
  return [
    ...("foreign" in token ? [...fault, ...keyringLines(token), ...passLines(token, metadata)] : tresorLines(token)),
    ...token.keyslots.map((slot): Line => ["Keyslot", String(slot)]),
  ]
}

function segmentText(segment: LuksSegment): string {
  const crypt: (readonly [string, string])[] =
    segment.type === "crypt"
      ? [
          ["cipher", segment.encryption],
          ["sector", bytes(segment.sectorSize)],
        ]
      : []
  const integrity = segment[extra]?.get("integrity")
  const lines: (readonly [string, string])[] = [
    ["offset", bytes(segment.offset)],
    ["length", segment.size === null ? "(whole device)" : bytes(segment.size)],
    ...crypt,
    ...(integrity === undefined ? [] : [["integrity", (JSON.parse(integrity) as { type: string }).type] as const]),
    // Their space before the colon.
    ...(segment.flags.length === 0 ? [] : [["flags ", segment.flags.join(", ")] as const]),
  ]
  return `${lines.map(([name, value]) => `${INDENT}${name}: ${visibleLine(value)}\n`).join("")}\n`
}

function digestLines(digest: LuksDigest): Line[] {
  if (digest.fault !== undefined) return [["Unusable", digest.fault.fact]]
  return [
    ["Hash", digest.hash],
    ["Iterations", String(digest.iterations)],
    ["Salt", hex(digest.salt)],
    ["Digest", hex(digest.digest)],
  ]
}

/** One section: its title, and its objects under their numbers; `mark` is put behind an object's type. */
function section<T extends { readonly type: string }>(
  title: string,
  items: ReadonlyMap<number, T>,
  text: (item: T, number: number) => string,
  mark: (number: number) => string = () => "",
): string {
  const parts = [...items].map(
    ([number, item]) => `  ${number}: ${visibleLine(item.type)}${mark(number)}\n${text(item, number)}`,
  )
  return `${title}:\n${parts.join("")}`
}

/** Line for line luksDump's, for scripts that read it; what is ours stands in tokens of type tresor and after "Unusable". */
function text({ metadata, ...header }: LuksHeader): string {
  const { config } = metadata
  const words = (list: readonly string[]) => list.map((word) => `${visibleLine(word)} `).join("")
  const top: (readonly [string, string])[] = [
    ["Version", "2"],
    ["Epoch", String(header.sequenceId)],
    ["Metadata area", bytes(header.headerSize)],
    ["Keyslots area", bytes(config.keyslotsSize)],
    ["UUID", header.uuid || "(no UUID)"],
    ["Label", header.label || "(no label)"],
    ["Subsystem", header.subsystem || "(no subsystem)"],
  ]
  const lines = top.map(([name, value]) => `${`${name}:`.padEnd(15)}${INDENT}${visibleLine(value)}\n`).join("")
  const flags = `Flags:       ${INDENT}${words(config.flags) || "(no flags)"}\n`
  const requirements = config.requirements.length === 0 ? "" : `Requirements:${INDENT}${words(config.requirements)}\n`
  // As cryptsetup, for which a key of what will be opens nothing yet.
  const inUse = (number: number) => !isBackup(metadata.segments.get(number)!)
  const bound = new Set(
    [...metadata.digests.values()].flatMap((each) => (each.segments.some(inUse) ? each.keyslots : [])),
  )
  return [
    `LUKS header information\n${lines}${flags}${requirements}\n`,
    section("Data segments", metadata.segments, segmentText),
    section(
      "Keyslots",
      metadata.keyslots,
      (keyslot, slot) => block(keyslotLines(slot, keyslot, metadata)),
      (slot) => (bound.has(slot) ? "" : " (unbound)"),
    ),
    section("Tokens", metadata.tokens, (token) => block(tokenLines(token, metadata))),
    section("Digests", metadata.digests, (digest) => block(digestLines(digest))),
  ].join("")
}

function json(path: string, header: LuksHeader) {
  const { uuid, label, subsystem, sequenceId, headerSize, metadata } = header
  const facts = { path, uuid, label, subsystem, epoch: Number(sequenceId), headerSize }
  return { ...facts, metadata: JSON.parse(emitMetadata(metadata)) as unknown }
}

export async function dump(path: string, options: DumpOptions): Promise<void> {
  await withHeader(path, options.header, { readOnly: true }, async ({ header }) => {
    if (options.dumpJsonMetadata === true) out.json(JSON.parse(emitMetadata(header.metadata)))
    else if (options.json === true) out.json(json(path, header))
    else out.text(text(header))
  })
}
