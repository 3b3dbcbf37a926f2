/**
 * SIGSTRUCT (SDM 3D, 38.13): built, completed by a signature from wherever
 * the key lives, parsed, and checked as EINIT checks it. Public numbers only,
 * so plain BigInt arithmetic serves; the private key never comes here.
 */
import { sigstruct } from "../../abi/sgx.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { fromHex, toHex } from "../../base/hex.ts"
import { Attribute, type EnclaveConf } from "./conf.ts"
import type { NewSha256 } from "./sgxs.ts"

export const SIGSTRUCT_SIZE = sigstruct.size
/** Modulus, signature, Q1 and Q2. */
const RSA_BYTES = 384

const at = sigstruct.offsets
/** FLAGS and XFRM stand one behind the other. */
const XFRM = 8
const At = {
  header: at.header,
  vendor: at.vendor,
  date: at.date,
  header2: at.header2,
  swDefined: at.sw_defined,
  modulus: at.modulus,
  exponent: at.exponent,
  signature: at.signature,
  miscSelect: at.misc_select,
  miscMask: at.misc_mask,
  familyId: at.isv_family_id,
  attributes: at.attributes,
  xfrm: at.attributes + XFRM,
  attributeMask: at.attributes_mask,
  xfrmMask: at.attributes_mask + XFRM,
  enclaveHash: at.enclave_hash,
  extProdId: at.isv_ext_prod_id,
  isvProdId: at.isv_prod_id,
  isvSvn: at.isv_svn,
  q1: at.q1,
  q2: at.q2,
} as const

const HEADER = "06000000e10000000000010000000000"
const HEADER2 = "01010000600000006000000001000000"
const VENDOR_INTEL = 0x8086

/** [from, to): zero in every SIGSTRUCT. CET's bytes are, too, as we never ask for CET. */
const RESERVED: readonly (readonly [number, number])[] = [
  [at.reserved1, at.modulus],
  [at.cet_attributes, at.isv_family_id],
  [at.reserved3, at.isv_ext_prod_id],
  [at.reserved4, at.q1],
]

export interface Sigstruct {
  readonly vendor: number
  /** YYYYMMDD, as signed. */
  readonly date: string
  readonly swDefined: number
  readonly miscSelect: number
  readonly miscMask: number
  readonly attributes: bigint
  readonly attributeMask: bigint
  readonly xfrm: bigint
  readonly xfrmMask: bigint
  readonly mrenclave: string
  /** SHA-256 of the modulus as stored. */
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
}

/** The fields of the SECS that EINIT compares. */
export interface Secs {
  readonly mrenclave: Uint8Array
  readonly miscSelect: number
  readonly attributes: bigint
  readonly xfrm: bigint
}

export interface EinitCheck {
  /** Stable, for programs. */
  readonly name: string
  /** What EINIT leaves in RAX when it fails (SDM 3D, 38.x error codes). */
  readonly error: number
  readonly passed: boolean
  /** One line: the fact found. Empty when passed. */
  readonly fact: string
}

export const EinitError = { sigStruct: 1, attribute: 2, measurement: 4, signature: 8 } as const

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes.toReversed())}`)
}

function toLittleEndian(value: bigint, length: number): Uint8Array {
  const digits = value.toString(16).padStart(2 * length, "0")
  if (digits.length > 2 * length) throw new RangeError(`${value} does not fit ${length} bytes`)
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(digits.slice(2 * (length - 1 - i)).slice(0, 2), 16))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function fail(fact: string): TresorError {
  return new TresorError("IMAGE_BAD_SIGSTRUCT", Exit.badArguments, `Cannot sign: ${fact}`)
}

/** "20261123" -> 0x20261123. Throws TresorError for anything but a date. */
function dateToBcd(date: string): number {
  const match = /^(\d{4})(\d{2})(\d{2})$/.exec(date)
  const [, year, month, day] = match ?? []
  const time = new Date(`${year}-${month}-${day}T00:00:00Z`)
  if (match === null || Number.isNaN(time.getTime()) || time.getUTCDate() !== Number(day)) {
    throw fail(`${date} is not a date; use YYYYMMDD`)
  }
  return Number.parseInt(date, 16)
}

export interface SigningOptions {
  readonly mrenclave: Uint8Array
  readonly conf: EnclaveConf
  /** YYYYMMDD. */
  readonly date: string
  readonly debug: boolean
}

/**
 * A SIGSTRUCT that lacks modulus, signature, Q1 and Q2. Its attribute mask is
 * all ones, so the host cannot add DEBUG, PROVISIONKEY or any later bit;
 * XFRM is open only where enclave.conf leaves it open.
 */
export function prepare({ mrenclave, conf, date, debug }: SigningOptions): Uint8Array {
  if (mrenclave.length !== 32) throw new RangeError(`MRENCLAVE has ${mrenclave.length} bytes, not 32`)
  const bytes = new Uint8Array(SIGSTRUCT_SIZE)
  const view = viewOf(bytes)
  bytes.set(fromHex(HEADER)!, At.header)
  view.setUint32(At.date, dateToBcd(date), true)
  bytes.set(fromHex(HEADER2)!, At.header2)
  view.setUint32(At.exponent, 3, true)
  view.setUint32(At.miscSelect, conf.miscSelect, true)
  view.setUint32(At.miscMask, 0xffff_ffff, true)
  view.setBigUint64(At.attributes, debug ? conf.attributes | Attribute.debug : conf.attributes, true)
  view.setBigUint64(At.xfrm, conf.xfrm & conf.xfrmMask, true)
  view.setBigUint64(At.attributeMask, conf.attributeMask, true)
  view.setBigUint64(At.xfrmMask, conf.xfrmMask, true)
  bytes.set(mrenclave, At.enclaveHash)
  view.setUint16(At.isvProdId, conf.isvProdId, true)
  view.setUint16(At.isvSvn, conf.isvSvn, true)
  return bytes
}

/** The 256 bytes that RSASSA-PKCS1-v1_5 with SHA-256 signs. */
export function signedBytes(sigstruct: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(256)
  bytes.set(sigstruct.subarray(0, 128), 0)
  bytes.set(sigstruct.subarray(900, 1028), 128)
  return bytes
}

/**
 * Inserts key and signature, both big-endian as OpenSSL and HSMs give them,
 * and computes Q1 and Q2. Throws TresorError when the signature is not one of
 * these bytes under this key.
 */
export function attach(
  prepared: Uint8Array,
  modulus: Uint8Array,
  signature: Uint8Array,
  newSha256: NewSha256,
): Uint8Array {
  checkSize(prepared)
  if (modulus.length !== RSA_BYTES) throw fail(`the key has ${modulus.length * 8} bits, not 3072`)
  if (signature.length !== RSA_BYTES) throw fail(`the signature has ${signature.length} bytes, not ${RSA_BYTES}`)
  const bytes = Uint8Array.from(prepared)
  bytes.set(modulus.toReversed(), At.modulus)
  bytes.set(signature.toReversed(), At.signature)
  const m = littleEndian(bytes.subarray(At.modulus, At.modulus + RSA_BYTES))
  const s = littleEndian(bytes.subarray(At.signature, At.signature + RSA_BYTES))
  if (m === 0n || s >= m) throw fail("the signature is larger than the key's modulus")
  const { q1, q2 } = quotients(s, m)
  bytes.set(toLittleEndian(q1, RSA_BYTES), At.q1)
  bytes.set(toLittleEndian(q2, RSA_BYTES), At.q2)
  const failed = checkSigstruct(bytes, newSha256).find((check) => !check.passed)
  if (failed !== undefined) throw fail(failed.fact)
  return bytes
}

/** What lets hardware cube S modulo M without dividing (SDM 3D, 38.13, Q1 and Q2). */
export function quotients(signature: bigint, modulus: bigint): { readonly q1: bigint; readonly q2: bigint } {
  const q1 = signature ** 2n / modulus
  const q2 = (signature ** 3n - q1 * signature * modulus) / modulus
  return { q1, q2 }
}

function checkSize(bytes: Uint8Array): void {
  if (bytes.length !== SIGSTRUCT_SIZE) {
    throw new TresorError(
      "IMAGE_BAD_SIGSTRUCT",
      Exit.wrongDevice,
      `Cannot read the SIGSTRUCT: it has ${bytes.length} bytes, not ${SIGSTRUCT_SIZE}`,
    )
  }
}

export function isSigstruct(bytes: Uint8Array): boolean {
  return bytes.length === SIGSTRUCT_SIZE && toHex(bytes.subarray(0, 16)) === HEADER
}

/** Reads the fields without judging them. Throws TresorError for a wrong length. */
export function parseSigstruct(bytes: Uint8Array, newSha256: NewSha256): Sigstruct {
  checkSize(bytes)
  const view = viewOf(bytes)
  const attributes = view.getBigUint64(At.attributes, true)
  return {
    vendor: view.getUint32(At.vendor, true),
    date: view.getUint32(At.date, true).toString(16).padStart(8, "0"),
    swDefined: view.getUint32(At.swDefined, true),
    miscSelect: view.getUint32(At.miscSelect, true),
    miscMask: view.getUint32(At.miscMask, true),
    attributes,
    attributeMask: view.getBigUint64(At.attributeMask, true),
    xfrm: view.getBigUint64(At.xfrm, true),
    xfrmMask: view.getBigUint64(At.xfrmMask, true),
    mrenclave: toHex(bytes.subarray(At.enclaveHash, At.enclaveHash + 32)),
    mrsigner: toHex(sha256(newSha256, bytes.subarray(At.modulus, At.modulus + RSA_BYTES))),
    isvProdId: view.getUint16(At.isvProdId, true),
    isvSvn: view.getUint16(At.isvSvn, true),
    debug: (attributes & Attribute.debug) !== 0n,
  }
}

/**
 * EINIT's checks in EINIT's order (SDM 3D, EINIT). Without `secs` those that
 * need the enclave are left out. Never throws on content: every failure is a
 * check that did not pass, as the kernel will only say EPERM.
 */
export function checkSigstruct(bytes: Uint8Array, newSha256: NewSha256, secs: Secs | null = null): EinitCheck[] {
  checkSize(bytes)
  const view = viewOf(bytes)
  const checks: EinitCheck[] = []
  const check = (name: string, error: number, passed: boolean, fact: string): void => {
    checks.push({ name, error, passed, fact: passed ? "" : fact })
  }
  const hexAt = (at: number, length: number): string => toHex(bytes.subarray(at, at + length))
  const flags = (value: bigint): string => `0x${value.toString(16)}`

  const vendor = view.getUint32(At.vendor, true)
  const exponent = view.getUint32(At.exponent, true)
  const reserved = RESERVED.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i))
  const dirty = reserved.find((at) => bytes[at] !== 0)
  check("header", EinitError.sigStruct, hexAt(At.header, 16) === HEADER, `its HEADER is ${hexAt(At.header, 16)}`)
  check(
    "vendor",
    EinitError.sigStruct,
    vendor === 0 || vendor === VENDOR_INTEL,
    `its VENDOR is 0x${vendor.toString(16)}, not 0 or 0x8086`,
  )
  check("header2", EinitError.sigStruct, hexAt(At.header2, 16) === HEADER2, `its HEADER2 is ${hexAt(At.header2, 16)}`)
  check("exponent", EinitError.sigStruct, exponent === 3, `its EXPONENT is ${exponent}, not 3`)
  check("reserved", EinitError.sigStruct, dirty === undefined, `its reserved byte ${dirty} is not zero`)

  const m = littleEndian(bytes.subarray(At.modulus, At.modulus + RSA_BYTES))
  const s = littleEndian(bytes.subarray(At.signature, At.signature + RSA_BYTES))
  const hasModulus = m >> 3071n === 1n
  check("modulus", EinitError.signature, hasModulus, "its MODULUS is not a 3072-bit number")
  const inRange = hasModulus && s > 0n && s < m
  const message = inRange ? toLittleEndian(s ** 3n % m, RSA_BYTES).reverse() : new Uint8Array(RSA_BYTES)
  const digest = sha256(newSha256, signedBytes(bytes))
  const isSigned = toHex(message) === toHex(pkcs1(digest))
  check("signature", EinitError.signature, isSigned, "its SIGNATURE is not the key's over these fields")
  const wanted = inRange ? quotients(s, m) : null
  const q1 = littleEndian(bytes.subarray(At.q1, At.q1 + RSA_BYTES))
  const q2 = littleEndian(bytes.subarray(At.q2, At.q2 + RSA_BYTES))
  check("q1", EinitError.signature, wanted?.q1 === q1, "its Q1 is not floor(SIGNATURE^2 / MODULUS)")
  check("q2", EinitError.signature, wanted?.q2 === q2, "its Q2 is not the quotient that belongs to its Q1")

  const attributes = view.getBigUint64(At.attributes, true)
  const kss = (attributes & Attribute.kss) !== 0n
  const extended = [
    ...bytes.subarray(At.familyId, At.familyId + 16),
    ...bytes.subarray(At.extProdId, At.extProdId + 16),
  ]
  check(
    "kss",
    EinitError.sigStruct,
    kss || extended.every((byte) => byte === 0),
    "it sets ISVFAMILYID or ISVEXTPRODID without the KSS attribute",
  )
  if (secs === null) return checks

  const mrenclave = hexAt(At.enclaveHash, 32)
  check(
    "hash",
    EinitError.measurement,
    mrenclave === toHex(secs.mrenclave),
    `its ENCLAVEHASH is ${mrenclave} but the image measures ${toHex(secs.mrenclave)}`,
  )
  check(
    "controlled",
    EinitError.attribute,
    (secs.attributes & Attribute.einitTokenKey) === 0n,
    "the enclave asks for EINITTOKEN_KEY, which only a launch enclave may have",
  )
  const attributeMask = view.getBigUint64(At.attributeMask, true)
  check(
    "attributes",
    EinitError.attribute,
    (secs.attributes & attributeMask) === (attributes & attributeMask),
    `its ATTRIBUTES ${flags(attributes)} under mask ${flags(attributeMask)} differ from the enclave's ${flags(secs.attributes)}`,
  )
  const xfrm = view.getBigUint64(At.xfrm, true)
  const xfrmMask = view.getBigUint64(At.xfrmMask, true)
  check(
    "xfrm",
    EinitError.attribute,
    (secs.xfrm & xfrmMask) === (xfrm & xfrmMask),
    `its XFRM ${flags(xfrm)} under mask ${flags(xfrmMask)} differs from the enclave's ${flags(secs.xfrm)}`,
  )
  const miscSelect = view.getUint32(At.miscSelect, true)
  const miscMask = view.getUint32(At.miscMask, true)
  check(
    "miscselect",
    EinitError.attribute,
    ((secs.miscSelect ^ miscSelect) & miscMask) === 0,
    `its MISCSELECT 0x${miscSelect.toString(16)} differs from the enclave's 0x${secs.miscSelect.toString(16)}`,
  )
  return checks
}

function sha256(newSha256: NewSha256, bytes: Uint8Array): Uint8Array {
  const hash = newSha256()
  hash.update(bytes)
  return new Uint8Array(hash.digest())
}

/** RFC 8017, 9.2: 00 01 ff… 00 || DigestInfo(SHA-256) || digest. */
function pkcs1(digest: Uint8Array): Uint8Array {
  const info = fromHex("3031300d060960864801650304020105000420")!
  const bytes = new Uint8Array(RSA_BYTES).fill(0xff)
  bytes[0] = 0
  bytes[1] = 1
  bytes[RSA_BYTES - 33 - info.length] = 0
  bytes.set(info, RSA_BYTES - 32 - info.length)
  bytes.set(digest, RSA_BYTES - 32)
  return bytes
}
