/** Digests of policies (TPM 2.0 Library, Part 3: TPM2_PolicyPCR, TPM2_PolicyAuthValue), and what a PIN is to the TPM. */
import { createHash, pbkdf2Sync } from "node:crypto"
import { concat } from "../base/bytes.ts"
import { pcrSelection, u32 } from "./wire.ts"

const POLICY_PCR = 0x17f
const POLICY_AUTH_VALUE = 0x16b
/** Bytes of SHA-256. */
const DIGEST = 32

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(
    createHash("sha256")
      .update(concat(...parts))
      .digest(),
  )

/** The values of `pcrs`, if any, and with `pin` the authValue too. */
export function policyDigest(pcrs: ReadonlyMap<number, Uint8Array>, pin: boolean): Uint8Array {
  const ascending = [...pcrs].sort(([a], [b]) => a - b)
  let digest: Uint8Array = new Uint8Array(DIGEST)
  if (ascending.length > 0) {
    const values = sha256(...ascending.map(([, value]) => value))
    digest = sha256(digest, u32(POLICY_PCR), pcrSelection(ascending.map(([pcr]) => pcr)), values)
  }
  return pin ? sha256(digest, u32(POLICY_AUTH_VALUE)) : digest
}

/** How a PIN becomes an authValue: the count is the TPM's, this only keeps the PIN itself from the TPM's bus. */
export interface PinKdf {
  readonly salt: Uint8Array
  /** Of PBKDF2-HMAC-SHA256. */
  readonly iterations: number
}

/** As systemd-cryptenroll's. */
export const PIN_ITERATIONS = 10_000

/** An authValue, the caller's to wipe. A TPM takes none that ends in a zero byte: they are cut off, as it does itself. */
export function pinAuth(pin: Uint8Array, { salt, iterations }: PinKdf): Uint8Array {
  const auth = pbkdf2Sync(pin, salt, iterations, DIGEST, "sha256")
  let length = auth.length
  while (length > 0 && auth[length - 1] === 0) length--
  const cut = Uint8Array.from(auth.subarray(0, length))
  auth.fill(0)
  return cut
}
