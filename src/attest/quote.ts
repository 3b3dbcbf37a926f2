/**
 * ECDSA quote, version 3 (Intel SGX ECDSA QuoteLibReference, A.4). Lengths
 * must close exactly; zeros may follow, as aesmd pads to the buffer's size.
 */
import { type Bytes, isZero, toHex, viewOf } from "./bytes.ts"
import { Refusal } from "./refusal.ts"

export const REPORT_BODY_SIZE = 384
/** Of TARGETINFO, what a REPORT is made for (SDM 3D). */
export const TARGET_INFO_SIZE = 512
const HEADER_SIZE = 48
export const SIGNED_SIZE = HEADER_SIZE + REPORT_BODY_SIZE
const SIGNATURE_AT = SIGNED_SIZE + 4
/** ISV signature, attestation key, QE report, its signature, two lengths and a type. */
const SIGNATURE_MIN = 64 + 64 + REPORT_BODY_SIZE + 64 + 2 + 2 + 4
export const INTEL_QE_VENDOR = "939a7233f79c4ca9940a0db3957f0607"

export const ReportFlag = { init: 1n, debug: 2n, mode64: 4n, provisionKey: 16n } as const

/** SDM 3D, REPORT: the 384 bytes under the MAC. */
export interface ReportBody {
  readonly cpuSvn: string
  readonly miscSelect: number
  /** FLAGS. */
  readonly attributes: bigint
  readonly xfrm: bigint
  /** The 16 bytes of both, as QE identities mask them. */
  readonly attributeBytes: Uint8Array
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  /** 64 bytes. */
  readonly reportData: Uint8Array
  readonly debug: boolean
}

export interface Quote {
  readonly qeSvn: number
  readonly pceSvn: number
  readonly qeVendor: string
  readonly userData: string
  readonly report: ReportBody
  /** What the ISV signature covers. */
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  /** x || y. */
  readonly attestationKey: Uint8Array
  readonly qeReport: ReportBody
  readonly qeReportBytes: Uint8Array
  readonly qeReportSignature: Uint8Array
  readonly authData: Uint8Array
  readonly certificationType: number
  readonly certificationData: Uint8Array
}

/** `bytes` are at least 384, as in a REPORT or a quote. */
export function parseReportBody(bytes: Uint8Array): ReportBody {
  if (bytes.length < REPORT_BODY_SIZE) throw new Refusal(`the report body has ${bytes.length} bytes`)
  const view = viewOf(bytes)
  const attributes = view.getBigUint64(48, true)
  return {
    cpuSvn: toHex(bytes.subarray(0, 16)),
    miscSelect: view.getUint32(16, true),
    attributes,
    xfrm: view.getBigUint64(56, true),
    attributeBytes: bytes.subarray(48, 64),
    mrenclave: toHex(bytes.subarray(64, 96)),
    mrsigner: toHex(bytes.subarray(128, 160)),
    isvProdId: view.getUint16(256, true),
    isvSvn: view.getUint16(258, true),
    reportData: bytes.subarray(320, 384),
    debug: (attributes & ReportFlag.debug) !== 0n,
  }
}

/** Throws Refusal naming the field. */
export function parseQuote(input: Uint8Array): Quote {
  const bytes: Bytes = Uint8Array.from(input)
  if (bytes.length < SIGNATURE_AT + SIGNATURE_MIN) throw new Refusal(`the quote is truncated: ${bytes.length} bytes`)
  const view = viewOf(bytes)
  const version = view.getUint16(0, true)
  const keyType = view.getUint16(2, true)
  const tee = view.getUint32(4, true)
  if (version !== 3) throw new Refusal(`the quote has version ${version}, not 3`)
  if (keyType !== 2) throw new Refusal(`the quote's key type is ${keyType}, not 2 (ECDSA P-256)`)
  if (tee !== 0) throw new Refusal(`the quote is for TEE type 0x${tee.toString(16)}, not SGX`)
  const qeVendor = toHex(bytes.subarray(12, 28))
  if (qeVendor !== INTEL_QE_VENDOR) throw new Refusal(`the quote's QE vendor is ${qeVendor}, not Intel's`)

  const signatureLength = view.getUint32(SIGNED_SIZE, true)
  const end = SIGNATURE_AT + signatureLength
  if (end > bytes.length) throw new Refusal(`the quote's signature data ends at ${end} of ${bytes.length} bytes`)
  if (!isZero(bytes.subarray(end))) throw new Refusal("the quote is followed by bytes that are not padding")
  const authAt = SIGNATURE_AT + 64 + 64 + REPORT_BODY_SIZE + 64
  const authLength = view.getUint16(authAt, true)
  const certificationAt = authAt + 2 + authLength
  if (certificationAt + 6 > end) throw new Refusal(`the quote's authentication data has ${authLength} bytes too many`)
  const certificationLength = view.getUint32(certificationAt + 2, true)
  if (certificationAt + 6 + certificationLength !== end) {
    throw new Refusal(`the quote's certification data has ${certificationLength} bytes, which is not what is left`)
  }
  const qeReportAt = SIGNATURE_AT + 128
  const qeReportBytes = bytes.subarray(qeReportAt, qeReportAt + REPORT_BODY_SIZE)
  return {
    qeSvn: view.getUint16(8, true),
    pceSvn: view.getUint16(10, true),
    qeVendor,
    userData: toHex(bytes.subarray(28, 48)),
    report: parseReportBody(bytes.subarray(HEADER_SIZE, SIGNED_SIZE)),
    signed: bytes.subarray(0, SIGNED_SIZE),
    signature: bytes.subarray(SIGNATURE_AT, SIGNATURE_AT + 64),
    attestationKey: bytes.subarray(SIGNATURE_AT + 64, qeReportAt),
    qeReport: parseReportBody(qeReportBytes),
    qeReportBytes,
    qeReportSignature: bytes.subarray(qeReportAt + REPORT_BODY_SIZE, authAt),
    authData: bytes.subarray(authAt + 2, certificationAt),
    certificationType: view.getUint16(certificationAt, true),
    certificationData: bytes.subarray(certificationAt + 6, end),
  }
}
