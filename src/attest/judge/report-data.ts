/** REPORTDATA of our enclave: binds a report or quote to one key and one request. Pure. */
import { concat, sha256 } from "./bytes.ts"

/** The key and nonce that REPORTDATA must bind. */
export interface ReportBinding {
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** 32 bytes. */
  readonly nonce: Uint8Array
}

/** SHA-256("tresor report v1" || public key || nonce) || 32 zero bytes, as the enclave's REPORT has it. */
export async function reportDataFor({ publicKey, nonce }: ReportBinding): Promise<Uint8Array> {
  if (publicKey.length !== 32 || nonce.length !== 32) throw new RangeError("public key and nonce are 32 bytes each")
  const hash = await sha256(concat(new TextEncoder().encode("tresor report v1"), publicKey, nonce))
  return concat(hash, new Uint8Array(32))
}
