/** Structs of the TPM 2.0 Library specification, Part 2, in the TPM's wire format: big-endian, sized buffers first. */
import { concat } from "../base/bytes.ts"

const Alg = { aes: 0x0006, keyedHash: 0x0008, sha256: 0x000b, null: 0x0010, ecc: 0x0023, cfb: 0x0043 } as const
/** objectAttributes (8.3) */
const Attribute = {
  fixedTpm: 0x2,
  fixedParent: 0x10,
  sensitiveDataOrigin: 0x20,
  userWithAuth: 0x40,
  noDa: 0x400,
  restricted: 0x10000,
  decrypt: 0x20000,
} as const
const P256 = 0x0003
/** Bytes of a TPMS_PCR_SELECT: PCRs 0 to 23. */
const SELECT_SIZE = 3
export const MOST_PCR = 8 * SELECT_SIZE - 1

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff)
export const u32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff)

/** A TPM2B around `content`. */
export const sized = (content: Uint8Array): Uint8Array => concat(u16(content.length), content)

/**
 * TPM2B_PUBLIC of the storage primary key, as systemd and the TCG's Provisioning Guidance have it: ECC P-256, AES-128-CFB.
 */
export const STORAGE_TEMPLATE: Uint8Array = sized(
  concat(
    u16(Alg.ecc),
    u16(Alg.sha256),
    u32(
      Attribute.fixedTpm |
        Attribute.fixedParent |
        Attribute.sensitiveDataOrigin |
        Attribute.userWithAuth |
        Attribute.noDa |
        Attribute.restricted |
        Attribute.decrypt,
    ),
    sized(new Uint8Array()),
    // symmetric, scheme, curve, kdf; unique x and y
    ...[Alg.aes, 128, Alg.cfb, Alg.null, P256, Alg.null, 0, 0].map(u16),
  ),
)

/** TPM2B_PUBLIC of what is sealed: opened by `policy` only; wrong attempts count where it has an authValue to guess. */
export function sealedTemplate(policy: Uint8Array, counted: boolean): Uint8Array {
  const attributes = Attribute.fixedTpm | Attribute.fixedParent | (counted ? 0 : Attribute.noDa)
  return sized(
    concat(u16(Alg.keyedHash), u16(Alg.sha256), u32(attributes), sized(policy), u16(Alg.null), sized(new Uint8Array())),
  )
}

/** TPM2B_SENSITIVE_CREATE; the caller wipes it. */
export function sensitive(auth: Uint8Array, data: Uint8Array): Uint8Array {
  const content = concat(u16(auth.length), auth, u16(data.length), data)
  try {
    return sized(content)
  } finally {
    content.fill(0)
  }
}

/** TPML_PCR_SELECTION of one bank, SHA-256. */
export function pcrSelection(pcrs: readonly number[]): Uint8Array {
  const select = new Uint8Array(SELECT_SIZE)
  for (const pcr of pcrs) select[pcr >> 3]! |= 1 << (pcr & 7)
  return concat(u32(1), u16(Alg.sha256), Uint8Array.of(SELECT_SIZE), select)
}

/** Reads what a TPM said. Throws RangeError where it ends before. */
class Reader {
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  number(size: 1 | 2 | 4): number {
    const at = this.#at
    this.#at += size
    return size === 1 ? this.#view.getUint8(at) : size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  bytes(size: number): Uint8Array {
    if (this.#at + size > this.#view.byteLength) throw new RangeError("the answer is cut off")
    const found = new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#at, size).slice()
    this.#at += size
    return found
  }
}

/** PCRs of the SHA-256 bank in a TPML_PCR_SELECTION, ascending. */
function selectedPcrs(selection: Uint8Array): number[] {
  const reader = new Reader(selection)
  const pcrs: number[] = []
  for (let banks = reader.number(4); banks > 0; banks--) {
    const sha256 = reader.number(2) === Alg.sha256
    reader.bytes(reader.number(1)).forEach((byte, index) => {
      for (let bit = 0; bit < 8; bit++) if (sha256 && (byte & (1 << bit)) !== 0) pcrs.push(8 * index + bit)
    })
  }
  return pcrs
}

/** The values of PCRs: a TPML_PCR_SELECTION and the TPML_DIGEST read with it. */
export function pcrValues(selection: Uint8Array, digests: Uint8Array): Map<number, Uint8Array> {
  const reader = new Reader(digests)
  const count = reader.number(4)
  return new Map(
    selectedPcrs(selection)
      .slice(0, count)
      .map((pcr) => [pcr, reader.bytes(reader.number(2))]),
  )
}

/** TPM2_PT -> value, of a TPMS_CAPABILITY_DATA with properties. */
export function properties(data: Uint8Array): ReadonlyMap<number, number> {
  const reader = new Reader(data)
  reader.number(4)
  const found = new Map<number, number>()
  for (let count = reader.number(4); count > 0; count--) {
    const property = reader.number(4)
    found.set(property, reader.number(4))
  }
  return found
}

/** The content of a TPM2B, a copy. */
export function unsized(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes)
  return reader.bytes(reader.number(2))
}
