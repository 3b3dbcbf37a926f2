/** Says what a file is that was taken for an SGX quote. */
import { REPORT_BODY_SIZE, report, TARGET_INFO_SIZE } from "../../abi/sgx.ts"
import { isZero, viewOf } from "./bytes.ts"

const TEE_TDX = 0x81
/** REPORT: a body and its MAC (SDM 3D). */
const REPORT_SIZES: readonly number[] = [REPORT_BODY_SIZE, report.size]
/** TARGETINFO. */
const TD_REPORT_SIZE = 1024
const OPEN_ENCLAVE_HEADER = 16

/** Enough of it to tell; a quote's version makes its second byte a NUL. */
function textOf(bytes: Uint8Array): string | null {
  const head = bytes.subarray(0, 256)
  const isText = head.every((byte) => byte === 0x09 || byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte < 0x7f))
  return isText ? new TextDecoder().decode(head).trim() : null
}

function kindOfText(text: string): string {
  if (text.startsWith("-----BEGIN")) return "it is PEM text, not a quote"
  if (/^[{[]/.test(text)) return "it is JSON, not a quote"
  if (text.startsWith("HTTP/")) return "it is a saved HTTP response, not a quote"
  if (/^(0x)?[0-9a-fA-F\s]+$/.test(text)) return "it is hex text; convert it with `xxd -r -p`"
  if (/^[A-Za-z0-9+/\s]+={0,2}$/.test(text)) return "it is base64 text; convert it with `base64 -d`"
  return "it is text, not a quote"
}

/** Reserved fields are zero in a report, and hold a group or a basename in an EPID quote. */
function isReport(bytes: Uint8Array): boolean {
  return REPORT_SIZES.includes(bytes.length) && isZero(bytes.subarray(20, 32)) && isZero(bytes.subarray(96, 128))
}

/**
 * `null`: nothing speaks against an SGX ECDSA quote. Throws nothing.
 *
 * Open Enclave's header: version 1, type (1 a report, 2 a quote), length as a
 * u64 (openenclave, include/openenclave/internal/report.h). EPID: versions 1 to
 * 3 and signature type 0 or 1 where ECDSA quotes have 2 (linux-sgx, sgx_quote.h).
 */
export function whatElse(bytes: Uint8Array): string | null {
  if (bytes.length === 0) return "it is empty"
  const text = textOf(bytes)
  if (text !== null) return kindOfText(text)
  if (isReport(bytes)) return "it is a report, which can be checked on its own machine only; make a quote of it there"
  if (bytes.length < OPEN_ENCLAVE_HEADER) return null
  const view = viewOf(bytes)
  const [version, keyType, teeType] = [view.getUint16(0, true), view.getUint16(2, true), view.getUint32(4, true)]
  if (view.getUint32(0, true) === 1 && (teeType === 1 || teeType === 2)) {
    const fits = view.getBigUint64(8, true) === BigInt(bytes.length - OPEN_ENCLAVE_HEADER)
    const inside = teeType === 1 ? "a report" : "a quote"
    if (fits) return `it is ${inside} behind Open Enclave's header of 16 bytes; remove it with \`tail -c +17\``
  }
  if (version >= 1 && version <= 3 && keyType <= 1) {
    return "it is an EPID quote, whose service Intel has closed; use an ECDSA quote (DCAP)"
  }
  if ((version === 4 || version === 5) && teeType === TEE_TDX) {
    return `it is a TDX quote (version ${version}), of a virtual machine and not an SGX enclave`
  }
  if (bytes.length === TD_REPORT_SIZE && bytes[0] === TEE_TDX) return "it is a TDX report, not an SGX quote"
  if (bytes.length === TARGET_INFO_SIZE && isZero(bytes.subarray(56))) return "it is a TARGETINFO, not a quote"
  return null
}

const CERTIFICATION_TYPES: Readonly<Record<number, string>> = {
  1: "PPID in clear",
  2: "PPID encrypted with RSA-2048",
  3: "PPID encrypted with RSA-3072",
  4: "PCK certificate",
  5: "PCK certificate chain",
  6: "certification of a quoting enclave's report",
  7: "platform manifest",
}

export function certificationName(type: number): string {
  const name = CERTIFICATION_TYPES[type]
  return name === undefined ? `type ${type}` : `type ${type} (${name})`
}
