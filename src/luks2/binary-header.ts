/**
 * The 4096-byte binary header (LUKS2 On-Disk Format Specification 1.1, chapter
 * 2), with the checksum over itself and the JSON area. Pure: hashes by WebCrypto.
 */
import { Exit, TresorError } from "../base/errors.ts"
import { Odd } from "./reader.ts"
import { bytesToText, textToBytes } from "./text.ts"

export const BINARY_HEADER = 4096
/** Bytes of binary header and JSON area; also where a second copy may begin. */
export const HEADER_SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((kib) => kib << 10)

const PRIMARY = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]
const SECONDARY = [0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe]

/** Offset and bytes of each field. */
const Field = {
  magic: [0, 6],
  version: [6, 2],
  headerSize: [8, 8],
  sequenceId: [16, 8],
  label: [24, 48],
  checksumAlgorithm: [72, 32],
  salt: [104, 64],
  uuid: [168, 40],
  subsystem: [208, 48],
  headerOffset: [256, 8],
  checksum: [448, 64],
} as const

export type Copy = "primary" | "secondary"

export interface BinaryHeader {
  readonly headerSize: number
  readonly sequenceId: bigint
  readonly label: string
  readonly subsystem: string
  readonly uuid: string
}

const ALGORITHMS: Readonly<Record<string, string>> = {
  sha1: "SHA-1",
  sha256: "SHA-256",
  sha384: "SHA-384",
  sha512: "SHA-512",
}

/** Bytes up to the first NUL; without one, as cryptsetup, all but the last. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return bytesToText(bytes.subarray(0, end < 0 ? bytes.length - 1 : end))
}

const slice = (bytes: Uint8Array, [at, length]: readonly [number, number]): Uint8Array =>
  bytes.subarray(at, at + length)

const startsWith = (bytes: Uint8Array, magic: readonly number[]): boolean =>
  magic.every((byte, index) => bytes[index] === byte)

async function checksumOf(algorithm: string, header: Uint8Array): Promise<Uint8Array> {
  // Not slice(): a Buffer's shares its memory.
  const cleared = Uint8Array.from(header)
  slice(cleared, Field.checksum).fill(0)
  return new Uint8Array(await crypto.subtle.digest(ALGORITHMS[algorithm]!, cleared))
}

/** What is at the start of a device: `null` for LUKS2's magic and version. */
export function notLuks2(bytes: Uint8Array, path: string): TresorError | null {
  if (!startsWith(bytes, PRIMARY)) {
    return new TresorError(
      "NOT_LUKS",
      Exit.wrongDevice,
      `Device ${path} is not a valid LUKS device: it has no LUKS header`,
    )
  }
  const version = (bytes[6]! << 8) | bytes[7]!
  if (version === 2) return null
  if (version === 1) {
    return new TresorError(
      "LUKS1",
      Exit.wrongDevice,
      `Device ${path} is LUKS1, and LUKS2 is needed: \`cryptsetup convert ${path} --type luks2\` converts it`,
    )
  }
  return new TresorError("NOT_LUKS", Exit.wrongDevice, `Device ${path} has a LUKS header of unknown version ${version}`)
}

/**
 * What the first 4096 bytes of a copy claim, before its checksum is known to
 * hold. Returns the fact that rules it out as a string. `offset`: where it lies.
 */
export function readBinaryHeader(bytes: Uint8Array, copy: Copy, offset: number): BinaryHeader | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, BINARY_HEADER)
  if (!startsWith(bytes, copy === "primary" ? PRIMARY : SECONDARY)) return "its magic is wrong"
  if (view.getUint16(Field.version[0]) !== 2) return `its version is ${view.getUint16(Field.version[0])}`
  const headerSize = Number(view.getBigUint64(Field.headerSize[0]))
  if (!HEADER_SIZES.includes(headerSize)) return `its size ${headerSize} is not one that LUKS2 allows`
  if (view.getBigUint64(Field.headerOffset[0]) !== BigInt(offset)) return "it is not where it says it is"
  if (copy === "secondary" && headerSize !== offset) return "its size does not fit its place"
  const algorithm = textOf(slice(bytes, Field.checksumAlgorithm))
  if (!Object.hasOwn(ALGORITHMS, algorithm)) return `its checksum algorithm "${algorithm}" is not known`
  return {
    headerSize,
    sequenceId: view.getBigUint64(Field.sequenceId[0]),
    label: textOf(slice(bytes, Field.label)),
    subsystem: textOf(slice(bytes, Field.subsystem)),
    uuid: textOf(slice(bytes, Field.uuid)),
  }
}

/** Whether the checksum of a whole copy (binary header and JSON area) holds. */
export async function checksumHolds(whole: Uint8Array): Promise<boolean> {
  const sum = await checksumOf(textOf(slice(whole, Field.checksumAlgorithm)), whole)
  const stored = slice(whole, Field.checksum)
  return sum.every((byte, index) => byte === stored[index])
}

/** Text of the JSON area: one object from its first byte on, then NUL to the end. Throws Odd. */
export function jsonText(whole: Uint8Array): string {
  const area = whole.subarray(BINARY_HEADER)
  const end = area.indexOf(0)
  if (end < 0) throw new Odd("the JSON area does not end with a NUL")
  if (area.subarray(end).some((byte) => byte !== 0)) throw new Odd("the JSON area has bytes after its end")
  const text = bytesToText(area.subarray(0, end))
  // Not even a space comes before it.
  if (!text.startsWith("{")) throw new Odd("the JSON area does not begin with {")
  return text
}

function put(bytes: Uint8Array, field: keyof typeof Field, text: string): void {
  const encoded = textToBytes(text)
  const [at, length] = Field[field]
  if (encoded.length >= length) throw new RangeError(`${field}: ${encoded.length} bytes, the limit is ${length - 1}`)
  bytes.set(encoded, at)
}

/**
 * A whole copy. Throws LUKS2_METADATA_FULL (exit 4) when the JSON does not fit,
 * RangeError for a text that does not fit its field.
 */
export async function encodeCopy(header: BinaryHeader, json: string, copy: Copy): Promise<Uint8Array> {
  const whole = new Uint8Array(header.headerSize)
  const text = textToBytes(json)
  if (text.length >= header.headerSize - BINARY_HEADER) {
    throw new TresorError(
      "LUKS2_METADATA_FULL",
      Exit.wrongDevice,
      `Cannot write the header: its ${header.headerSize - BINARY_HEADER} bytes of metadata are full; ` +
        "remove a keyslot or token, or make portable keyslots, which need none",
    )
  }
  const view = new DataView(whole.buffer)
  whole.set(copy === "primary" ? PRIMARY : SECONDARY)
  view.setUint16(Field.version[0], 2)
  view.setBigUint64(Field.headerSize[0], BigInt(header.headerSize))
  view.setBigUint64(Field.sequenceId[0], header.sequenceId)
  put(whole, "label", header.label)
  put(whole, "checksumAlgorithm", "sha256")
  crypto.getRandomValues(slice(whole, Field.salt) as Uint8Array<ArrayBuffer>)
  put(whole, "uuid", header.uuid)
  put(whole, "subsystem", header.subsystem)
  view.setBigUint64(Field.headerOffset[0], copy === "primary" ? 0n : BigInt(header.headerSize))
  whole.set(text, BINARY_HEADER)
  whole.set(await checksumOf("sha256", whole), Field.checksum[0])
  return whole
}
