/** `tresor dump`: the header as luksDump shows it, and what Tresor adds. */
import { emitMetadata } from "../../luks2/emit.ts"
import type {
  ForeignKeyslot,
  ForeignToken,
  LuksDigest,
  LuksHeader,
  LuksKeyslot,
  LuksSegment,
  TresorToken,
} from "../../luks2/metadata.ts"
import { out } from "../../output/output.ts"
import { visibleLine } from "../../output/visible.ts"
import { withHeader } from "../keeper.ts"

export interface DumpOptions {
  readonly header?: string
  readonly json?: true
}

type Line = readonly [string, string]

const bytes = (value: bigint | number): string => `${value} [bytes]`
const INDENT = "\t"

/** 16 bytes a line, as luksDump. */
function hexLines(value: Uint8Array): string[] {
  const lines: string[] = []
  for (let at = 0; at < value.length; at += 16) {
    lines.push(Array.from(value.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, "0")).join(" "))
  }
  return lines
}

const hex = (name: string, value: Uint8Array): Line[] =>
  hexLines(value).map((line, index): Line => [index === 0 ? name : "", line])

function block(lines: readonly Line[]): string {
  return lines
    .map(([name, value]) => `${INDENT}${`${name === "" ? "" : `${name}:`}`.padEnd(12)}${visibleLine(value)}\n`)
    .join("")
}

const PRIORITY = ["ignored", "normal", "preferred"] as const

function keyslotLines(slot: number, keyslot: LuksKeyslot | ForeignKeyslot, header: LuksHeader): Line[] {
  const area: Line[] =
    keyslot.area === null
      ? []
      : [
          ["Area offset", bytes(keyslot.area.offset)],
          ["Area length", bytes(keyslot.area.size)],
        ]
  if ("foreign" in keyslot) return area
  const { kdf, af } = keyslot
  const cost: Line[] =
    kdf.type === "pbkdf2"
      ? [
          ["Hash", kdf.hash],
          ["Iterations", String(kdf.iterations)],
        ]
      : [
          ["Time cost", String(kdf.time)],
          ["Memory", `${kdf.memoryKib}`],
          ["Threads", String(kdf.cpus)],
        ]
  const digest = [...header.metadata.digests].find(([, each]) => each.keyslots.includes(slot))
  return [
    ["Key", `${keyslot.keySize * 8} bits`],
    ["Priority", PRIORITY[keyslot.priority ?? 1]],
    ["Cipher", keyslot.area.encryption ?? "none"],
    ["Cipher key", `${(keyslot.area.keySize ?? 0) * 8} bits`],
    ["PBKDF", kdf.type],
    ...cost,
    ...hex("Salt", kdf.salt),
    ["AF stripes", String(af.stripes)],
    ["AF hash", af.hash],
    ...area,
    ["Digest ID", digest === undefined ? "none" : String(digest[0])],
  ]
}

function tokenLines(token: TresorToken | ForeignToken): Line[] {
  const keyslots: Line = ["Keyslots", token.keyslots.join(", ") || "none"]
  if ("foreign" in token) return [keyslots]
  const { kdf, enclave, mac } = token
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
    keyslots,
  ]
}

function segmentLines(segment: LuksSegment): Line[] {
  const crypt: Line[] =
    segment.type === "crypt"
      ? [
          ["cipher", segment.encryption],
          ["sector", bytes(segment.sectorSize)],
        ]
      : []
  return [
    ["offset", bytes(segment.offset)],
    ["length", segment.size === null ? "(whole device)" : bytes(segment.size)],
    ...crypt,
  ]
}

function digestLines(digest: LuksDigest): Line[] {
  if (digest.type !== "pbkdf2") return []
  return [
    ["Hash", digest.hash],
    ["Iterations", String(digest.iterations)],
    ...hex("Salt", digest.salt),
    ...hex("Digest", digest.digest),
  ]
}

/** One section: its title, and its objects under their numbers. */
function section<T extends { readonly type: string }>(
  title: string,
  items: ReadonlyMap<number, T>,
  lines: (item: T, number: number) => Line[],
): string {
  const parts = [...items].map(
    ([number, item]) => `  ${number}: ${visibleLine(item.type)}\n${block(lines(item, number))}`,
  )
  return `${title}:\n${parts.join("")}`
}

function text(header: LuksHeader): string {
  const { metadata } = header
  const { config } = metadata
  const top: Line[] = [
    ["Version", "2"],
    ["Epoch", String(header.sequenceId)],
    ["Metadata area", bytes(header.headerSize)],
    ["Keyslots area", bytes(config.keyslotsSize)],
    ["UUID", header.uuid],
    ["Label", header.label || "(no label)"],
    ["Subsystem", header.subsystem || "(no subsystem)"],
    ["Flags", config.flags.join(" ") || "(no flags)"],
    ...(config.requirements.length === 0 ? [] : [["Requirements", config.requirements.join(" ")] as const]),
  ]
  return [
    `LUKS header information\n${top.map(([name, value]) => `${`${name}:`.padEnd(15)}${visibleLine(value)}\n`).join("")}`,
    section("Data segments", metadata.segments, segmentLines),
    section("Keyslots", metadata.keyslots, (keyslot, slot) => keyslotLines(slot, keyslot, header)),
    section("Tokens", metadata.tokens, tokenLines),
    section("Digests", metadata.digests, digestLines),
  ].join("\n")
}

function json(path: string, header: LuksHeader) {
  const { uuid, label, subsystem, sequenceId, headerSize, metadata } = header
  const facts = { path, uuid, label, subsystem, epoch: Number(sequenceId), headerSize }
  return { ...facts, metadata: JSON.parse(emitMetadata(metadata)) as unknown }
}

export async function dump(path: string, options: DumpOptions): Promise<void> {
  await withHeader(path, options.header, { readOnly: true }, async ({ header }) => {
    if (options.json === true) out.json(json(path, header))
    else out.text(text(header))
  })
}
