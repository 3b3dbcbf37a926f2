/**
 * vectors/luks2/*.json: one header each, with the one oddity its file names.
 * `metadata` is the JSON area; `binary` puts bytes (hex) at offsets of both
 * binary headers before the checksum is made. The encoder is the tests' own,
 * after the LUKS2 On-Disk Format Specification 1.1, chapter 2.
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

export interface Vector {
  readonly name: string
  readonly oddity: string
  /** What cryptsetup's luksDump says, and what we say. */
  readonly cryptsetup: "accepted" | "refused"
  readonly tresor: "accepted" | "refused"
  /** Why we differ. */
  readonly because?: string
  readonly metadata: unknown
  readonly binary?: Readonly<Record<string, string>>
}

const FOLDER = join(import.meta.dirname, "../../vectors/luks2")

export const vectors: readonly Vector[] = readdirSync(FOLDER)
  .sort()
  .map((file) => ({ name: file.replace(".json", ""), ...JSON.parse(readFileSync(join(FOLDER, file), "utf8")) }))

const SIZE = 16384
const CHECKSUM = [448, 64] as const
const HASHES = new Set(["sha1", "sha256", "sha384", "sha512"])

function copyOf({ metadata, binary = {} }: Vector, secondary: boolean): Buffer {
  const bytes = Buffer.alloc(SIZE)
  bytes.set(secondary ? [0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe] : [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe])
  bytes.writeUInt16BE(2, 6)
  bytes.writeBigUInt64BE(BigInt(SIZE), 8)
  bytes.writeBigUInt64BE(1n, 16)
  bytes.write("sha256", 72)
  bytes.fill(0x53, 104, 168)
  bytes.write("b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11", 168)
  bytes.writeBigUInt64BE(secondary ? BigInt(SIZE) : 0n, 256)
  bytes.write(JSON.stringify(metadata), 4096)
  for (const [at, hex] of Object.entries(binary)) bytes.set(Buffer.from(hex, "hex"), Number(at))
  const named = bytes.toString("latin1", 72, 104).replace(/\0.*$/s, "").toLowerCase()
  const digest = createHash(HASHES.has(named) ? named : "sha256")
    .update(bytes)
    .digest()
  bytes.set(digest.subarray(0, CHECKSUM[1]), CHECKSUM[0])
  return bytes
}

/** Both copies; what follows them on a disk is zero. */
export const imageOf = (vector: Vector): Buffer => Buffer.concat([copyOf(vector, false), copyOf(vector, true)])
