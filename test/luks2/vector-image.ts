/**
 * vectors/luks2: one base header and a list of oddities, each a header that is
 * the base but for that. vectors/README.md says how a header is made of the
 * two; this is the tests' own encoder, after the LUKS2 On-Disk Format
 * Specification 1.1, chapter 2.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"

type Copy = "primary" | "secondary"
// biome-ignore lint/suspicious/noExplicitAny: any JSON
export type Json = any

export interface Vector {
  readonly name: string
  readonly oddity: string
  /** What cryptsetup's luksDump says, and what we say. */
  readonly cryptsetup: "accepted" | "refused"
  readonly tresor: "accepted" | "refused"
  /** Why we differ. */
  readonly because?: string
  /** Objects ("keyslots.3") that are kept and not used; absent: all are used, or another program's. */
  readonly unusable?: readonly string[]
  /** Paths in the base's metadata ("segments.0.flags"), and what is there instead; a new member comes last. */
  readonly set?: Readonly<Record<string, Json>>
  /** Paths that are not there. */
  readonly remove?: readonly string[]
  /** Put into the text of the JSON area: what is replaced, and by what; bytes above 7F are bytes. */
  readonly replace?: readonly [string, string]
  /** A token is added so that the text ends that many bytes before the JSON area does. */
  readonly room?: number
  /** Bytes (hex) behind the text, from the NUL on. */
  readonly after?: string
  /** Bytes (hex) at offsets of both binary headers, before the checksum is made. */
  readonly binary?: Readonly<Record<string, string>>
  /** Of binary header and JSON area; 16384 when absent. The areas are moved accordingly. */
  readonly headerSize?: number
  /** The oddity is in this copy only. */
  readonly only?: Copy
  /** The checksum of this copy does not hold, or its bytes are zero. */
  readonly broken?: Copy | "both"
  readonly missing?: Copy
  /** Of both copies together. */
  readonly sha256: string
}

const read = (file: string): Json =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../../vectors/luks2", file), "utf8"))

export const vectors: readonly Vector[] = Object.entries<Json>(read("headers.json")).map(([name, vector]) => ({
  name,
  ...vector,
}))

/** Bytes (hex) at offsets of both binary headers; `secondary`: of that one. */
export const BASE: {
  readonly headerSize: number
  readonly binary: Readonly<Record<string, string>>
  readonly secondary: Readonly<Record<string, string>>
  readonly metadata: Json
} = read("base.json")

const BINARY = 4096
const CHECKSUM = [448, 64] as const
const HASHES = new Set(["sha1", "sha256", "sha384", "sha512"])

/** The object that has the path's last member, and that member's name. */
function place(metadata: Json, path: string): readonly [Json, string] {
  const names = path.split(".")
  const last = names.pop()!
  return [names.reduce((object, name) => object[name], metadata), last]
}

/** Areas and data as a larger header needs them. */
function moved(metadata: Json, headerSize: number): Json {
  if (headerSize === BASE.headerSize) return metadata
  metadata.config.json_size = String(headerSize - BINARY)
  metadata.config.keyslots_size = String(16744448)
  for (const { area } of Object.values<Json>(metadata.keyslots)) {
    area.offset = String(Number(area.offset) + 2 * (headerSize - BASE.headerSize))
  }
  metadata.segments["0"].offset = String(32 << 20)
  return metadata
}

/** `object` with some of its members set or removed. */
export function edited(object: Json, { set = {}, remove = [] }: Pick<Vector, "set" | "remove">): Json {
  for (const path of remove) {
    const [parent, name] = place(object, path)
    delete parent[name]
  }
  for (const [path, value] of Object.entries(set)) {
    const [parent, name] = place(object, path)
    parent[name] = structuredClone(value)
  }
  return object
}

/** The JSON area's object. */
const metadataOf = (vector: Vector): Json =>
  edited(moved(structuredClone(BASE.metadata), vector.headerSize ?? BASE.headerSize), vector)

/** The JSON area's bytes before its NULs. */
export function textOf(vector: Vector): Buffer {
  const { headerSize = BASE.headerSize, replace, room } = vector
  const object = metadataOf(vector)
  if (room !== undefined) {
    object.tokens["6"] = { type: "long", keyslots: [], text: "" }
    object.tokens["6"].text = "x".repeat(headerSize - BINARY - JSON.stringify(object).length - room)
  }
  const text = JSON.stringify(object)
  if (replace === undefined) return Buffer.from(text)
  if (!text.includes(replace[0])) throw new Error(`${vector.name}: nothing to replace`)
  return Buffer.from(
    text.replace(replace[0], () => replace[1]),
    "latin1",
  )
}

function put(bytes: Buffer, parts: Readonly<Record<string, string>>): void {
  for (const [at, hex] of Object.entries(parts)) bytes.set(Buffer.from(hex, "hex"), Number(at))
}

function copyOf(vector: Vector, copy: Copy): Buffer {
  const { headerSize = BASE.headerSize, broken, missing, only } = vector
  const bytes = Buffer.alloc(headerSize)
  if (missing === copy) return bytes
  const odd = only === undefined || only === copy
  put(bytes, BASE.binary)
  if (copy === "secondary") put(bytes, BASE.secondary)
  bytes.writeBigUInt64BE(BigInt(headerSize), 8)
  bytes.writeBigUInt64BE(copy === "secondary" ? BigInt(headerSize) : 0n, 256)
  const text = odd ? textOf(vector) : Buffer.from(JSON.stringify(moved(structuredClone(BASE.metadata), headerSize)))
  bytes.set(text.subarray(0, headerSize - BINARY), BINARY)
  if (odd && vector.after !== undefined) bytes.set(Buffer.from(vector.after, "hex"), BINARY + text.length)
  if (odd) put(bytes, vector.binary ?? {})
  const named = bytes.toString("latin1", 72, 104).replace(/\0.*$/s, "").toLowerCase()
  const digest = createHash(HASHES.has(named) ? named : "sha256")
    .update(bytes)
    .digest()
  bytes.set(digest.subarray(0, CHECKSUM[1]), CHECKSUM[0])
  if (broken === copy || broken === "both") bytes[CHECKSUM[0]]! ^= 1
  return bytes
}

/** Both copies; what follows them on a disk is zero. */
export const imageOf = (vector: Vector): Buffer =>
  Buffer.concat([copyOf(vector, "primary"), copyOf(vector, "secondary")])
