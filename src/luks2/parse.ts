/**
 * JSON area -> Metadata, with every rule of the LUKS2 On-Disk Format
 * Specification 1.1 (chapter 3) that cryptsetup checks. Pure.
 */
import { Exit, TresorError } from "../errors.ts"
import { AmbiguousJson } from "../json.ts"
import { type Extensible, members, unknownMembers } from "./json.ts"
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
  TresorToken,
} from "./metadata.ts"

export const KEYSLOTS = 32
export const TOKENS = 32
const SEALED_SIZE = 768

const U64 = 1n << 64n

export function invalid(fact: string): TresorError {
  return new TresorError(
    "LUKS2_INVALID",
    Exit.wrongDevice,
    `Invalid LUKS2 header: ${fact}; \`tresor header restore\` puts a backup back`,
  )
}

/** One object of the JSON area, and where it is, for messages. */
class Reader {
  readonly #fields: ReadonlyMap<string, string>
  readonly #path: string

  constructor(text: string, path: string) {
    this.#path = path
    try {
      this.#fields = members(text)
    } catch (error) {
      const fault = error instanceof AmbiguousJson ? error.message : "is not a JSON object"
      throw invalid(`${path || "the JSON area"} ${fault}`)
    }
  }

  fail(field: string, what: string): TresorError {
    return invalid(`${this.#path === "" ? field : `${this.#path}.${field}`} ${what}`)
  }

  has(field: string): boolean {
    return this.#fields.has(field)
  }

  unknown(...known: readonly string[]): Extensible {
    return unknownMembers(this.#fields, known)
  }

  #value(field: string): unknown {
    const text = this.#fields.get(field)
    if (text === undefined) throw this.fail(field, "is missing")
    return JSON.parse(text)
  }

  string(field: string): string {
    const value = this.#value(field)
    if (typeof value !== "string") throw this.fail(field, "is not a string")
    return value
  }

  /** JSON number, 32 bits as json-c's int. */
  integer(field: string, low: number, high = 0x7fff_ffff): number {
    const value = this.#value(field)
    if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) {
      throw this.fail(field, `is not a whole number from ${low} to ${high}`)
    }
    return value as number
  }

  /** Decimal text of 64 bits. */
  uint64(field: string): bigint {
    const text = this.string(field)
    if (!/^(0|[1-9][0-9]{0,19})$/.test(text) || BigInt(text) >= U64) {
      throw this.fail(field, "is not a 64-bit number in decimal digits")
    }
    return BigInt(text)
  }

  base64(field: string): Uint8Array {
    const text = this.string(field)
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
      throw this.fail(field, "is not base64")
    }
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  }

  strings(field: string): string[] {
    const value = this.#value(field)
    if (!Array.isArray(value) || !value.every((each) => typeof each === "string")) {
      throw this.fail(field, "is not an array of strings")
    }
    return value as string[]
  }

  /** Numbers of objects, written as strings. */
  references(field: string, limit: number): number[] {
    return this.strings(field).map((text) => {
      if (!isNumber(text, limit)) throw this.fail(field, `names "${text}", which is no number below ${limit}`)
      return Number(text)
    })
  }

  object(field: string): Reader {
    const text = this.#fields.get(field)
    if (text === undefined) throw this.fail(field, "is missing")
    return new Reader(text, this.#path === "" ? field : `${this.#path}.${field}`)
  }

  /** Objects under their numbers, in ascending order. */
  numbered<T>(field: string, limit: number, parse: (reader: Reader, number: number) => T): Map<number, T> {
    const reader = this.object(field)
    const found: [number, T][] = []
    for (const name of reader.#fields.keys()) {
      if (!isNumber(name, limit)) throw reader.fail(name, `is no number below ${limit}`)
      found.push([Number(name), parse(reader.object(name), Number(name))])
    }
    return new Map(found.sort(([a], [b]) => a - b))
  }
}

const isNumber = (text: string, limit: number): boolean => /^(0|[1-9][0-9]{0,3})$/.test(text) && Number(text) < limit

function parseArea(reader: Reader): LuksArea {
  const type = reader.string("type")
  const encrypted = type === "raw"
  const area = {
    type,
    offset: reader.uint64("offset"),
    size: reader.uint64("size"),
    encryption: encrypted || reader.has("encryption") ? reader.string("encryption") : null,
    keySize: encrypted || reader.has("key_size") ? reader.integer("key_size", 1) : null,
  }
  if (area.size === 0n) throw reader.fail("size", "is zero")
  return { ...area, ...reader.unknown("type", "offset", "size", "encryption", "key_size") }
}

/** `null` for a KDF of another version: its keyslot is kept as it is, and the others open. */
function parseKdf(reader: Reader): LuksKdf | null {
  const type = reader.string("type")
  if (type !== "pbkdf2" && type !== "argon2i" && type !== "argon2id") return null
  const salt = reader.base64("salt")
  if (salt.length === 0) throw reader.fail("salt", "is empty")
  if (type === "pbkdf2") {
    return {
      type,
      hash: reader.string("hash"),
      iterations: reader.integer("iterations", 1, 0xffff_ffff),
      salt,
      ...reader.unknown("type", "salt", "hash", "iterations"),
    }
  }
  return {
    type,
    time: reader.integer("time", 1),
    memoryKib: reader.integer("memory", 1),
    cpus: reader.integer("cpus", 1),
    salt,
    ...reader.unknown("type", "salt", "time", "memory", "cpus"),
  }
}

function parsePriority(reader: Reader): 0 | 1 | 2 | null {
  return reader.has("priority") ? (reader.integer("priority", 0, 2) as 0 | 1 | 2) : null
}

function parseKeyslot(reader: Reader): LuksKeyslot | ForeignKeyslot {
  const type = reader.string("type")
  const keySize = reader.integer("key_size", 1)
  const kdf = type === "luks2" ? parseKdf(reader.object("kdf")) : null
  if (kdf === null) {
    const area = reader.has("area") ? parseArea(reader.object("area")) : null
    return { type, area, foreign: true, ...reader.unknown("type", "area") }
  }
  const af = reader.object("af")
  if (af.string("type") !== "luks1") throw af.fail("type", "is not luks1")
  return {
    type: "luks2",
    keySize,
    af: {
      type: "luks1",
      stripes: af.integer("stripes", 1),
      hash: af.string("hash"),
      ...af.unknown("type", "stripes", "hash"),
    },
    area: parseArea(reader.object("area")),
    kdf,
    priority: parsePriority(reader),
    ...reader.unknown("type", "key_size", "af", "area", "kdf", "priority"),
  }
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
    integrity: reader.has("integrity"),
    flags: reader.has("flags") ? reader.strings("flags") : [],
  }
  if (segment.size === 0n) throw reader.fail("size", "is zero")
  const unit = BigInt(sectorSize)
  if (segment.offset % 512n !== 0n) throw reader.fail("offset", "is not a multiple of 512")
  if (segment.size !== null && segment.size % unit !== 0n) throw reader.fail("size", "is not a multiple of its sectors")
  const known = ["type", "offset", "size", "iv_tweak", "encryption", "sector_size", "flags"]
  return { ...segment, ...(crypt ? reader.unknown(...known) : reader.unknown("type", "offset", "size", "flags")) }
}

function parseDigest(reader: Reader): LuksDigest {
  const type = reader.string("type")
  const known = type === "pbkdf2"
  return {
    type,
    keyslots: reader.references("keyslots", KEYSLOTS),
    segments: reader.references("segments", 0x1_0000),
    hash: known ? reader.string("hash") : "",
    iterations: known ? reader.integer("iterations", 1, 0xffff_ffff) : 0,
    salt: known ? reader.base64("salt") : new Uint8Array(0),
    digest: known ? reader.base64("digest") : new Uint8Array(0),
    ...(known
      ? reader.unknown("type", "keyslots", "segments", "hash", "iterations", "salt", "digest")
      : reader.unknown("type", "keyslots", "segments")),
  }
}

function parseTresorKdf(reader: Reader): TresorToken["kdf"] {
  const type = reader.string("type")
  if (type === "pbkdf2") {
    const hash = reader.string("hash")
    if (hash !== "sha256" && hash !== "sha512" && hash !== "sha1") throw reader.fail("hash", `"${hash}" is not known`)
    return { type, hash, iterations: reader.integer("iterations", 1, 0xffff_ffff) }
  }
  if (type !== "argon2i" && type !== "argon2id") throw reader.fail("type", `"${type}" is not known`)
  return {
    type,
    time: reader.integer("time", 1),
    memoryKib: reader.integer("memory", 1),
    lanes: reader.integer("cpus", 1),
  }
}

function sized(reader: Reader, field: string, size: number): Uint8Array {
  const bytes = reader.base64(field)
  if (bytes.length !== size) throw reader.fail(field, `has ${bytes.length} bytes, not ${size}`)
  return bytes
}

function hex(reader: Reader, field: string): string {
  const text = reader.string(field)
  if (!/^[0-9a-f]{64}$/.test(text)) throw reader.fail(field, "is not 64 hexadecimal digits")
  return text
}

function oneOf<const T extends string>(reader: Reader, field: string, ...words: readonly T[]): T {
  const text = reader.string(field)
  const found = words.find((word) => word === text)
  if (found === undefined) throw reader.fail(field, `"${text}" is none of ${words.join(", ")}`)
  return found
}

function parseTresorToken(reader: Reader, keyslots: readonly number[]): TresorToken {
  const enclave = reader.object("enclave")
  const mac = reader.object("mac")
  const macs = mac.object("keyslots")
  const slots = Array.from({ length: KEYSLOTS }, (_, slot) => slot).filter((slot) => macs.has(String(slot)))
  return {
    type: "tresor",
    keyslots,
    version: 1,
    kdf: parseTresorKdf(reader.object("kdf")),
    sealed: sized(reader, "sealed", SEALED_SIZE),
    enclave: {
      mrsigner: hex(enclave, "mrsigner"),
      mrenclave: hex(enclave, "mrenclave"),
      isvProdId: enclave.integer("isvProdId", 0, 0xffff),
      isvSvn: enclave.integer("isvSvn", 0, 0xffff),
      policy: oneOf(enclave, "policy", "mrsigner", "mrenclave"),
      backend: oneOf(enclave, "backend", "software", "sgx"),
    },
    mac: {
      segment: sized(mac, "segment", 32),
      keyslots: new Map(slots.map((slot) => [slot, sized(macs, String(slot), 32)])),
    },
    ...reader.unknown("type", "keyslots", "version", "kdf", "sealed", "enclave", "mac"),
  }
}

function parseToken(reader: Reader): TresorToken | ForeignToken {
  const type = reader.string("type")
  const keyslots = reader.references("keyslots", KEYSLOTS)
  // A version to come is kept and listed like any token that is not ours.
  if (type === "tresor" && reader.has("version") && reader.integer("version", 0) === 1) {
    return parseTresorToken(reader, keyslots)
  }
  return { type, keyslots, foreign: true, ...reader.unknown("type", "keyslots") }
}

function parseConfig(reader: Reader): LuksConfig {
  const requirements = reader.has("requirements") ? reader.object("requirements") : null
  return {
    jsonSize: reader.uint64("json_size"),
    keyslotsSize: reader.uint64("keyslots_size"),
    flags: reader.has("flags") ? reader.strings("flags") : [],
    requirements: requirements?.has("mandatory") ? requirements.strings("mandatory") : [],
    ...reader.unknown("json_size", "keyslots_size", "flags", "requirements"),
  }
}

/** What one object says of another. Throws LUKS2_INVALID. */
function checkReferences({ keyslots, segments, digests, tokens }: Metadata): void {
  const missing = (what: string, number: number, names: string) =>
    invalid(`${what} names ${names} ${number}, which does not exist`)
  for (const [number, digest] of digests) {
    for (const slot of digest.keyslots) if (!keyslots.has(slot)) throw missing(`digests.${number}`, slot, "keyslot")
    for (const segment of digest.segments) {
      if (!segments.has(segment)) throw missing(`digests.${number}`, segment, "segment")
    }
  }
  const named = [...digests.values()]
  for (const [slot, { type }] of keyslots) {
    const count = named.filter((digest) => digest.keyslots.includes(slot)).length
    if (type !== "luks2" || count === 1) continue
    throw invalid(
      count === 0 ? `keyslot ${slot} is unreachable, no digest names it` : `two digests name keyslot ${slot}`,
    )
  }
  for (const [number, { type }] of segments) {
    if (type === "crypt" && !named.some((digest) => digest.segments.includes(number))) {
      throw invalid(`no digest names segment ${number}`)
    }
  }
  for (const [number, token] of tokens) {
    for (const slot of token.keyslots) if (!keyslots.has(slot)) throw missing(`tokens.${number}`, slot, "keyslot")
  }
}

/** Numbers without gaps, no overlap, only the last one dynamic. Segments flagged "backup…" are remarks. */
function checkSegments(segments: ReadonlyMap<number, LuksSegment>): void {
  const live = [...segments].filter(([, { flags }]) => !flags.some((flag) => flag.startsWith("backup")))
  if (live.length === 0) throw invalid("it has no segment")
  live.forEach(([number, segment], index) => {
    if (number !== index) throw invalid(`segment ${index} is missing`)
    const next = live[index + 1]
    if (next === undefined) return
    if (segment.size === null) throw invalid(`segment ${number} is dynamic and not the last`)
    if (segment.offset + segment.size > next[1].offset) throw invalid(`segments ${number} and ${next[0]} overlap`)
  })
}

/** Keyslot areas: inside the keyslots area, and apart from each other. */
function checkAreas(metadata: Metadata, headerSize: bigint): void {
  const start = 2n * headerSize
  const end = start + metadata.config.keyslotsSize
  const areas = [...metadata.keyslots]
    .flatMap(([slot, { area }]) => (area === null ? [] : [{ slot, offset: area.offset, end: area.offset + area.size }]))
    .sort((a, b) => (a.offset < b.offset ? -1 : 1))
  areas.forEach((area, index) => {
    if (area.offset < start || area.end > end)
      throw invalid(`the area of keyslot ${area.slot} lies outside the keyslots area`)
    const next = areas[index + 1]
    if (next !== undefined && area.end > next.offset) {
      throw invalid(`the areas of keyslots ${area.slot} and ${next.slot} overlap`)
    }
  })
}

const BINARY_HEADER = 4096n
const KEYSLOTS_SIZE_MAX = 128n << 20n

function checkConfig({ config, segments }: Metadata, headerSize: bigint): void {
  if (config.jsonSize !== headerSize - BINARY_HEADER) {
    throw invalid(`config.json_size is ${config.jsonSize}, and the JSON area has ${headerSize - BINARY_HEADER} bytes`)
  }
  if (config.keyslotsSize % 4096n !== 0n) throw invalid("config.keyslots_size is not a multiple of 4096")
  if (config.keyslotsSize > KEYSLOTS_SIZE_MAX) throw invalid("config.keyslots_size is more than 128 MiB")
  // Offset 0: the header is detached and the data lie elsewhere.
  const data = segments.get(0)?.offset ?? 0n
  if (data !== 0n && 2n * headerSize + config.keyslotsSize > data) {
    throw invalid("the keyslots area reaches into the data")
  }
}

/**
 * `json`: the JSON area up to its first NUL; `headerSize`: bytes of binary
 * header and JSON area. Throws LUKS2_INVALID (exit 4) naming the field.
 */
export function parseMetadata(json: string, headerSize: number): Metadata {
  const reader = new Reader(json, "")
  const metadata: Metadata = {
    keyslots: reader.numbered("keyslots", KEYSLOTS, parseKeyslot),
    segments: reader.numbered("segments", 0x1_0000, parseSegment),
    digests: reader.numbered("digests", KEYSLOTS, parseDigest),
    tokens: reader.numbered("tokens", TOKENS, parseToken),
    config: parseConfig(reader.object("config")),
    ...reader.unknown("keyslots", "segments", "digests", "tokens", "config"),
  }
  checkConfig(metadata, BigInt(headerSize))
  checkReferences(metadata)
  checkSegments(metadata.segments)
  checkAreas(metadata, BigInt(headerSize))
  return metadata
}
