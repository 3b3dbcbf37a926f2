/**
 * JSON area -> Metadata, with every rule of the LUKS2 On-Disk Format
 * Specification 1.1 (chapter 3) that cryptsetup checks. A keyslot, digest or
 * token that passes these and that we still cannot use is kept as it is, with
 * its fault; the others go on working (docs/decisions/0044). Pure.
 */
import { Exit, TresorError } from "../base/errors.ts"
import { checkMetadata } from "./consistency.ts"
import { KEYSLOTS, TOKENS } from "./limits.ts"
import type {
  ForeignKeyslot,
  ForeignToken,
  LuksArea,
  LuksConfig,
  LuksDigest,
  LuksKdf,
  LuksKeyslot,
  LuksSegment,
  Metadata,
} from "./metadata.ts"
import { type Fault, Reader as ObjectReader, Odd, type Reader } from "./reader.ts"
import { parseTresorToken, TRESOR_TOKEN, type TresorToken } from "./tresor-token.ts"

const U32 = 0xffff_ffff

/** LUKS2_INVALID (exit 4). */
export function invalid(fact: string): TresorError {
  return new TresorError(
    "LUKS2_INVALID",
    Exit.wrongDevice,
    `Invalid LUKS2 header: ${fact}; \`tresor header restore\` restores a backup`,
  )
}

/** `parse`, or `fallback` for an object that cryptsetup lets pass and we cannot use. */
function orElse<T>(parse: () => T, fallback: (fault: Fault) => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof Odd)) throw error
    return fallback(error.fault)
  }
}

function parseArea(reader: Reader): LuksArea {
  const area = { type: reader.string("type"), offset: reader.uint64("offset"), size: reader.uint64("size") }
  if (area.size === 0n) throw reader.fail("size", "is zero")
  const encryption = reader.optional("encryption", (field) => reader.string(field))
  const keySize = reader.optional("key_size", (field) => reader.integer(field, 1))
  // What is of another kind is kept as it is.
  const known = ["type", "offset", "size"]
  if (encryption !== null) known.push("encryption")
  if (keySize !== null) known.push("key_size")
  return { ...area, encryption, keySize, ...reader.unknown(...known) }
}

/** What cryptsetup asks of a keyslot of type luks2, whether or not it could open it (luks2_keyslot_validate). */
function checkLuks2(reader: Reader): void {
  const kdf = reader.object("kdf")
  const type = kdf.string("type")
  if (type === "pbkdf2") kdf.string("hash")
  const numbers = type === "pbkdf2" ? ["iterations"] : type.startsWith("argon2") ? ["time", "memory", "cpus"] : []
  for (const field of numbers) kdf.integer(field, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  if (numbers.length > 0) kdf.string("salt")
  const af = reader.object("af")
  if (af.string("type") !== "luks1") throw af.fail("type", "is not luks1")
  af.string("hash")
  af.integer("stripes", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  const area = reader.object("area")
  if (area.string("type") !== "raw") throw area.fail("type", "is not raw")
  area.string("encryption")
  area.integer("key_size", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
}

/** The same for type reencrypt (reenc_keyslot_validate). */
function checkReencrypt(reader: Reader): void {
  reader.integer("key_size", 1, 1)
  const mode = reader.string("mode")
  if (!["reencrypt", "encrypt", "decrypt"].includes(mode)) throw reader.fail("mode", `"${mode}" is unknown`)
  const direction = reader.string("direction")
  if (!["forward", "backward"].includes(direction)) throw reader.fail("direction", `"${direction}" is unknown`)
  const area = reader.object("area")
  const type = area.string("type")
  if (type === "checksum" || type === "datashift-checksum") {
    area.string("hash")
    const size = area.integer("sector_size", 512, U32)
    if (!Number.isInteger(Math.log2(size))) throw area.fail("sector_size", "is not a power of two")
  }
  if (type === "datashift" || type === "datashift-checksum" || type === "datashift-journal") {
    const shift = area.uint64("shift_size")
    if (shift === 0n || shift % 512n !== 0n) throw area.fail("shift_size", "is not a multiple of 512")
  }
}

function parseKdf(reader: Reader): LuksKdf {
  const type = reader.string("type")
  const salt = reader.base64("salt")
  if (type === "pbkdf2") {
    return {
      type,
      hash: reader.string("hash"),
      iterations: reader.integer("iterations", 1, U32),
      salt,
      ...reader.unknown("type", "salt", "hash", "iterations"),
    }
  }
  if (type !== "argon2i" && type !== "argon2id") throw reader.unknownValue("type", type)
  return {
    type,
    time: reader.integer("time", 1),
    memoryKib: reader.integer("memory", 1),
    cpus: reader.integer("cpus", 1),
    salt,
    ...reader.unknown("type", "salt", "time", "memory", "cpus"),
  }
}

function parseUsable(reader: Reader, number: number, area: LuksArea): LuksKeyslot {
  if (number >= KEYSLOTS) throw reader.unknownValue("number", number)
  if (area.encryption === null || area.keySize === null) throw reader.fail("area.key_size", "is zero or less")
  const af = reader.object("af")
  return {
    type: "luks2",
    keySize: reader.integer("key_size", 1),
    af: {
      type: "luks1",
      stripes: af.integer("stripes", 1),
      hash: af.string("hash"),
      ...af.unknown("type", "stripes", "hash"),
    },
    area,
    kdf: parseKdf(reader.object("kdf")),
    priority: reader.has("priority") ? (reader.integer("priority", 0, 2) as 0 | 1 | 2) : null,
    ...reader.unknown("type", "key_size", "af", "area", "kdf", "priority"),
  }
}

function parseKeyslot(reader: Reader, number: number): LuksKeyslot | ForeignKeyslot {
  const type = reader.string("type")
  reader.integer("key_size", 0, U32)
  const area = parseArea(reader.object("area"))
  const foreign = (fault?: Fault): ForeignKeyslot => ({
    type,
    area,
    foreign: true,
    ...(fault === undefined ? {} : { fault }),
    ...reader.unknown("type", "area"),
  })
  if (type === "reencrypt") checkReencrypt(reader)
  if (type !== "luks2") return foreign()
  checkLuks2(reader)
  return orElse<LuksKeyslot | ForeignKeyslot>(() => parseUsable(reader, number, area), foreign)
}

/** cryptsetup wants all three when there is one. */
function checkIntegrity(reader: Reader): boolean {
  if (!reader.has("integrity")) return false
  const integrity = reader.object("integrity")
  for (const field of ["type", "journal_encryption", "journal_integrity"]) integrity.string(field)
  return true
}

function parseSegment(reader: Reader): LuksSegment {
  const type = reader.string("type")
  const crypt = type === "crypt"
  const sectorSize = crypt ? reader.integer("sector_size", 512, 4096) : 512
  if ((sectorSize & (sectorSize - 1)) !== 0) throw reader.fail("sector_size", "is not a power of two")
  const dynamic = reader.string("size") === "dynamic"
  const segment = {
    type,
    offset: reader.uint64("offset"),
    size: dynamic ? null : reader.uint64("size"),
    ivTweak: crypt ? reader.uint64("iv_tweak") : 0n,
    encryption: crypt ? reader.string("encryption") : "",
    sectorSize,
    integrity: crypt && checkIntegrity(reader),
    flags: reader.has("flags") ? reader.strings("flags") : [],
  }
  if (segment.size === 0n) throw reader.fail("size", "is zero")
  const unit = BigInt(sectorSize)
  if (segment.offset % 512n !== 0n) throw reader.fail("offset", "is not a multiple of 512")
  if (segment.size !== null && segment.size % unit !== 0n) throw reader.fail("size", "is not a multiple of its sectors")
  const known = crypt ? ["iv_tweak", "encryption", "sector_size"] : []
  return { ...segment, ...reader.unknown("type", "offset", "size", ...known, ...unlessEmpty("flags", segment.flags)) }
}

/** A list that is written only when it holds something; an empty one is kept as any unknown member. */
const unlessEmpty = (field: string, list: readonly string[]): string[] => (list.length === 0 ? [] : [field])

function parseDigest(reader: Reader): LuksDigest {
  const type = reader.string("type")
  const common = { type, keyslots: reader.references("keyslots"), segments: reader.references("segments") }
  const foreign = (fault: Fault): LuksDigest => ({
    ...common,
    hash: "",
    iterations: 0,
    salt: new Uint8Array(0),
    digest: new Uint8Array(0),
    fault,
    ...reader.unknown("type", "keyslots", "segments"),
  })
  if (type !== "pbkdf2") return foreign(reader.unknownValue("type", type).fault)
  return orElse<LuksDigest>(
    () => ({
      ...common,
      hash: reader.string("hash"),
      iterations: reader.integer("iterations", 1, U32),
      salt: reader.base64("salt"),
      digest: reader.base64("digest"),
      ...reader.unknown("type", "keyslots", "segments", "hash", "iterations", "salt", "digest"),
    }),
    foreign,
  )
}

function parseToken(reader: Reader, number: number): TresorToken | ForeignToken {
  const type = reader.string("type")
  const keyslots = reader.references("keyslots")
  const foreign = (fault?: Fault): ForeignToken => ({
    type,
    keyslots,
    foreign: true,
    ...(fault === undefined ? {} : { fault }),
    ...reader.unknown("type", "keyslots"),
  })
  if (number >= TOKENS) return foreign(reader.unknownValue("number", number).fault)
  if (type !== TRESOR_TOKEN) return foreign()
  return orElse<TresorToken | ForeignToken>(() => parseTresorToken(reader, keyslots), foreign)
}

/** A token by itself, as `cryptsetup token export` writes it. Throws Odd. */
export const parseTokenJson = (json: string, number: number): TresorToken | ForeignToken =>
  parseToken(new ObjectReader(json, "token"), number)

function parseConfig(reader: Reader): LuksConfig {
  const flags = reader.has("flags") ? reader.strings("flags") : []
  const requirements = reader.has("requirements") ? reader.object("requirements") : null
  const mandatory = requirements?.has("mandatory") === true ? requirements.strings("mandatory") : []
  return {
    jsonSize: reader.uint64("json_size"),
    keyslotsSize: reader.uint64("keyslots_size"),
    flags,
    requirements: mandatory,
    ...(requirements === null
      ? {}
      : { otherRequirements: requirements.unknown(...unlessEmpty("mandatory", mandatory)) }),
    ...reader.unknown("json_size", "keyslots_size", "requirements", ...unlessEmpty("flags", flags)),
  }
}

/**
 * `json`: the JSON area's text; `headerSize`: bytes of binary header and JSON
 * area. Throws LUKS2_INVALID (exit 4) naming the field.
 */
export function parseMetadata(json: string, headerSize: number): Metadata {
  try {
    const reader = new ObjectReader(json, "")
    const metadata: Metadata = {
      keyslots: reader.numbered("keyslots", parseKeyslot),
      segments: reader.numbered("segments", parseSegment),
      digests: reader.numbered("digests", parseDigest),
      tokens: reader.numbered("tokens", parseToken),
      config: parseConfig(reader.object("config")),
      ...reader.unknown("keyslots", "segments", "digests", "tokens", "config"),
    }
    checkMetadata(metadata, BigInt(headerSize))
    return metadata
  } catch (error) {
    throw error instanceof Odd ? invalid(error.message) : error
  }
}
