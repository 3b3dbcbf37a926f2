/**
 * ECDSA quotes of SGX enclaves: version 3 (Intel SGX ECDSA QuoteLibReference,
 * A.4), and versions 4 and 5, which TDX brought and Intel's library takes for
 * SGX as well (Intel TDX DCAP Quoting Library API, A.3 and A.4). Lengths must
 * close exactly; zeros may follow, as aesmd pads to the buffer's size.
 *
 *   3     header, report, length, [signature, key, QE part]
 *   4     header, report, length, [signature, key, type 6, length, [QE part]]
 *   5     header, body type 1, body length, report, then as 4
 *   QE part: QE's report, its signature, authentication data, certification data
 */
import { REPORT_BODY_SIZE, report } from "../../abi/sgx.ts"
import { type Bytes, isZero, toHex, viewOf } from "./bytes.ts"
import { certificationName, whatElse } from "./file-kind.ts"
import { Refusal } from "./refusal.ts"

const HEADER_SIZE = 48
const SIGNED_SIZE = HEADER_SIZE + REPORT_BODY_SIZE
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
  readonly version: 3 | 4 | 5
  readonly qeSvn: number
  readonly pceSvn: number
  readonly qeVendor: string
  readonly userData: string
  readonly report: ReportBody
  /** 384 bytes. */
  readonly reportBytes: Uint8Array
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

/** `bytes` are at least REPORT_BODY_SIZE, as in a REPORT or a quote. */
export function parseReportBody(bytes: Uint8Array): ReportBody {
  if (bytes.length < REPORT_BODY_SIZE) throw new Refusal(`the report body has ${bytes.length} bytes`)
  const { fields, offsets: at } = report
  const view = viewOf(bytes)
  const take = (field: "cpu_svn" | "attributes" | "mrenclave" | "mrsigner" | "report_data") =>
    bytes.subarray(at[field], at[field] + fields[field])
  const attributes = view.getBigUint64(at.attributes, true)
  return {
    cpuSvn: toHex(take("cpu_svn")),
    miscSelect: view.getUint32(at.misc_select, true),
    attributes,
    xfrm: view.getBigUint64(at.attributes + 8, true),
    attributeBytes: take("attributes"),
    mrenclave: toHex(take("mrenclave")),
    mrsigner: toHex(take("mrsigner")),
    isvProdId: view.getUint16(at.isv_prod_id, true),
    isvSvn: view.getUint16(at.isv_svn, true),
    reportData: take("report_data"),
    debug: (attributes & ReportFlag.debug) !== 0n,
  }
}

/** Takes fields off the front. Throws Refusal naming the field that does not fit. */
class Fields {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get at(): number {
    return this.#at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  take(what: string, length: number): Uint8Array {
    if (length > this.left)
      throw new Refusal(`the quote is cut short: ${what} has ${length} bytes, ${this.left} are left`)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  u16(what: string): number {
    return viewOf(this.take(what, 2)).getUint16(0, true)
  }

  u32(what: string): number {
    return viewOf(this.take(what, 4)).getUint32(0, true)
  }

  /** A part that says its own length. */
  part(what: string, length: number): Fields {
    return new Fields(this.take(what, length))
  }

  close(what: string): void {
    if (this.left > 0) throw new Refusal(`the quote's ${what} ends ${this.left} bytes before its length says`)
  }
}

interface Header {
  readonly version: 3 | 4 | 5
  readonly qeSvn: number
  readonly pceSvn: number
  readonly qeVendor: string
  readonly userData: string
}

function parseHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes)
  const version = view.getUint16(0, true)
  const keyType = view.getUint16(2, true)
  const tee = view.getUint32(4, true)
  if (version !== 3 && version !== 4 && version !== 5) {
    throw new Refusal(`the quote has version ${version}; 3, 4 and 5 are known`)
  }
  if (keyType !== 2) throw new Refusal(`the quote's key type is ${keyType}, not 2 (ECDSA P-256)`)
  if (tee !== 0) throw new Refusal(`the quote is for TEE type 0x${tee.toString(16)}, not SGX`)
  const qeVendor = toHex(bytes.subarray(12, 28))
  if (qeVendor !== INTEL_QE_VENDOR) throw new Refusal(`the quote's QE vendor is ${qeVendor}, not Intel's`)
  return {
    version,
    qeSvn: view.getUint16(8, true),
    pceSvn: view.getUint16(10, true),
    qeVendor,
    userData: toHex(bytes.subarray(28, 48)),
  }
}

/** Version 5: type and length of the body. */
const BODY_HEADER_SIZE = 6
const SGX_BODY = 1
const QE_CERTIFICATION = 6

/** What makes and vouches for the attestation key. */
function parseQePart(fields: Fields) {
  const qeReportBytes = fields.take("the quoting enclave's report", REPORT_BODY_SIZE)
  const qeReportSignature = fields.take("that report's signature", 64)
  const authData = fields.take("the authentication data", fields.u16("the authentication data's length"))
  const certificationType = fields.u16("the certification data's type")
  const certificationData = fields.take("the certification data", fields.u32("the certification data's length"))
  fields.close("certification data")
  return {
    qeReport: parseReportBody(qeReportBytes),
    qeReportBytes,
    qeReportSignature,
    authData,
    certificationType,
    certificationData,
  }
}

/** Where a quote ends that is padded to a buffer's size; `null`: it is cut short. */
export function endOfQuote(bytes: Uint8Array): number | null {
  const view = viewOf(bytes)
  if (bytes.length < HEADER_SIZE) return null
  const lengthAt = SIGNED_SIZE + (view.getUint16(0, true) === 5 ? BODY_HEADER_SIZE : 0)
  if (bytes.length < lengthAt + 4) return null
  const end = lengthAt + 4 + view.getUint32(lengthAt, true)
  return end > bytes.length ? null : end
}

/** Throws Refusal naming the field, or saying what it is instead of a quote. */
export function parseQuote(input: Uint8Array): Quote {
  const bytes: Bytes = Uint8Array.from(input)
  const other = whatElse(bytes)
  if (other !== null) throw new Refusal(other)
  const fields = new Fields(bytes)
  const header = parseHeader(fields.take("the header", HEADER_SIZE))
  if (header.version === 5) {
    const type = fields.u16("the body's type")
    const length = fields.u32("the body's length")
    if (type !== SGX_BODY) throw new Refusal(`the quote's body is of type ${type}, not 1 (SGX report)`)
    if (length !== REPORT_BODY_SIZE) throw new Refusal(`the quote's body has ${length} bytes, not ${REPORT_BODY_SIZE}`)
  }
  const reportBytes = fields.take("the report", REPORT_BODY_SIZE)
  const signed = bytes.subarray(0, fields.at)
  const signatureData = fields.part("the signature data", fields.u32("the signature data's length"))
  if (!isZero(fields.take("what follows", fields.left))) {
    throw new Refusal("the quote is followed by bytes that are not padding")
  }
  const signature = signatureData.take("the signature", 64)
  const attestationKey = signatureData.take("the attestation key", 64)
  let qePart = signatureData
  if (header.version > 3) {
    const type = signatureData.u16("the certification data's type")
    if (type !== QE_CERTIFICATION) {
      const name = certificationName(type)
      throw new Refusal(`the quote's certification data is of ${name}; version ${header.version} has type 6 there`)
    }
    qePart = signatureData.part("the certification data", signatureData.u32("the certification data's length"))
    signatureData.close("signature data")
  }
  return {
    ...header,
    report: parseReportBody(reportBytes),
    reportBytes,
    signed,
    signature,
    attestationKey,
    ...parseQePart(qePart),
  }
}
