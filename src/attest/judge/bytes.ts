/** Bytes of attestation evidence. Runs in a browser as in Node; no node: imports. */

export { concat } from "../../base/bytes.ts"
export { fromHex, toHex } from "../../base/hex.ts"

export type Bytes = Uint8Array<ArrayBuffer>

/** Public values only: not constant-time. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export async function sha256(bytes: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)))
}

/** ECDSA on P-256 with SHA-256. `point` is 04 || x || y, `signature` r || s, big-endian. */
export async function verifyP256(point: Uint8Array, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (point.length !== 65 || point[0] !== 4 || signature.length !== 64) return false
  try {
    const algorithm = { name: "ECDSA", namedCurve: "P-256" }
    const key = await crypto.subtle.importKey("raw", Uint8Array.from(point), algorithm, false, ["verify"])
    const scheme = { name: "ECDSA", hash: "SHA-256" }
    return await crypto.subtle.verify(scheme, key, Uint8Array.from(signature), Uint8Array.from(data))
  } catch {
    // A point that is not on the curve is refused at import.
    return false
  }
}
