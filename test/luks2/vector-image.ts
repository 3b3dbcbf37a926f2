/**
 * vectors/luks2/*.json: one header each, with the one oddity its file names.
 * `metadata` is the JSON area; without it, plain.json's with `changes`. The
 * encoder is the tests' own, after the LUKS2 On-Disk Format Specification 1.1,
 * chapter 2.
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

type Copy = "primary" | "secondary"
// biome-ignore lint/suspicious/noExplicitAny: any JSON
type Json = any

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
  readonly metadata?: Json
  /** Pairs of a path ("segments.0.flags") and its value; a path alone is removed. */
  readonly changes?: readonly (readonly [string] | readonly [string, Json])[]
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
}

const FOLDER = join(import.meta.dirname, "../../vectors/luks2")

export const vectors: readonly Vector[] = readdirSync(FOLDER)
  .sort()
  .map((file) => ({ name: file.replace(".json", ""), ...JSON.parse(readFileSync(join(FOLDER, file), "utf8")) }))

const PLAIN: Json = vectors.find(({ name }) => name === "plain")!.metadata

const SIZE = 16384
const BINARY = 4096
const CHECKSUM = [448, 64] as const
const HASHES = new Set(["sha1", "sha256", "sha384", "sha512"])

function set(metadata: Json, path: string, value: Json): void {
  const names = path.split(".")
  const last = names.pop()!
  const parent = names.reduce((object, name) => object[name], metadata)
  if (value === undefined) delete parent[last]
  else parent[last] = value
}

/** Areas and data as a larger header needs them. */
function moved(metadata: Json, headerSize: number): Json {
  if (headerSize === SIZE) return metadata
  metadata.config.json_size = String(headerSize - BINARY)
  metadata.config.keyslots_size = String(16744448)
  for (const { area } of Object.values<Json>(metadata.keyslots)) {
    area.offset = String(Number(area.offset) + 2 * (headerSize - SIZE))
  }
  metadata.segments["0"].offset = String(32 << 20)
  return metadata
}

/** The JSON area's object. */
export function metadataOf({ metadata, changes = [], headerSize = SIZE }: Vector): Json {
  const object = moved(structuredClone(metadata ?? PLAIN), metadata === undefined ? headerSize : SIZE)
  for (const [path, value] of changes) set(object, path, structuredClone(value))
  return object
}

/** The JSON area's bytes before its NULs. */
export function textOf(vector: Vector): Buffer {
  const { headerSize = SIZE, replace, room } = vector
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

function copyOf(vector: Vector, copy: Copy): Buffer {
  const { headerSize = SIZE, broken, missing, only } = vector
  const bytes = Buffer.alloc(headerSize)
  if (missing === copy) return bytes
  const odd = only === undefined || only === copy
  bytes.set(copy === "secondary" ? [0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe] : [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe])
  bytes.writeUInt16BE(2, 6)
  bytes.writeBigUInt64BE(BigInt(headerSize), 8)
  bytes.writeBigUInt64BE(1n, 16)
  bytes.write("sha256", 72)
  bytes.fill(0x53, 104, 168)
  bytes.write("b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11", 168)
  bytes.writeBigUInt64BE(copy === "secondary" ? BigInt(headerSize) : 0n, 256)
  const text = odd ? textOf(vector) : Buffer.from(JSON.stringify(moved(structuredClone(PLAIN), headerSize)))
  bytes.set(text.subarray(0, headerSize - BINARY), BINARY)
  if (odd && vector.after !== undefined) bytes.set(Buffer.from(vector.after, "hex"), BINARY + text.length)
  if (odd) for (const [at, hex] of Object.entries(vector.binary ?? {})) bytes.set(Buffer.from(hex, "hex"), Number(at))
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
