/**
 * Removes what surrounds evidence in files: `curl -i` puts an answer's headers in front,
 * C programs a NUL behind, a PCCS gives DER as hex or base64, a shell quotes it.
 * Only wrappings are taken off here; what was signed keeps every byte.
 */
import { type Bytes, fromHex } from "./bytes.ts"
import { pemBlocks } from "./certificates.ts"
import { Refusal } from "./refusal.ts"

/** Without byte order mark, surrounding white space, and the NULs that end a C string. */
export function bare(text: string): string {
  return text.replace(/^[\uFEFF\s]+|[\s\0]+$/g, "")
}

function startsWithHttp(bytes: Uint8Array): boolean {
  return [..."HTTP/"].every((char, i) => bytes[i] === char.charCodeAt(0))
}

/** Where the first empty line ends; the length when there is none. */
function endOfHeaders(bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] !== 0x0a) continue
    if (bytes[at + 1] === 0x0a) return at + 2
    if (bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return at + 3
  }
  return bytes.length
}

/** A saved answer: its headers (those of a proxy or redirect in front of it too), and the body. */
export function splitAnswer(bytes: Uint8Array): { readonly headers: string; readonly body: Uint8Array } {
  let headers = ""
  let body = bytes
  while (startsWithHttp(body)) {
    const end = endOfHeaders(body)
    headers += new TextDecoder().decode(body.subarray(0, end))
    body = body.subarray(end)
  }
  return { headers, body }
}

function fromBase64(text: string): Bytes | null {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    return null
  }
}

/** DER that stands as text: hex, with 0x or without, or base64; quoted or not. `null` when it is none. */
export function derOfText(text: string): Uint8Array | null {
  const quoted = /^"([^"]*)"$/.exec(bare(text))
  const digits = bare(quoted === null ? text : quoted[1]!)
    .replace(/^0x/i, "")
    .replace(/\s+/g, "")
  // A SEQUENCE, which both certificates and CRLs are.
  if (/^30/.test(digits)) return fromHex(digits)
  return /^MI/.test(digits) ? fromBase64(digits) : null
}

/** A CRL as a bundle gives it: PEM too. Throws Refusal. */
export function crlBytes(what: string, text: string): Uint8Array {
  const [pem] = pemBlocks(text, "X509 CRL")
  const der = pem ?? derOfText(text)
  if (der === null) throw new Refusal(`the ${what} is not hex, base64 or PEM`)
  return der
}
