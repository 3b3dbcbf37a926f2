/** A tresord's enclave, to be judged and sealed to. */
import { randomBytes } from "node:crypto"
import { TARGET_INFO_SIZE } from "../abi/sgx.ts"
import type { Askable } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { VolumeStatus } from "./volume.ts"
import type { VolumeClient } from "./volume-client.ts"

/** A report for nobody to verify: it is only read. */
const NOBODY = new Uint8Array(TARGET_INFO_SIZE)

export interface FirstContact {
  readonly status: VolumeStatus
  /** The enclave that `status` speaks of, or its predecessor. */
  readonly enclave: Askable
}

/**
 * `predecessor`: MRENCLAVE of the enclave to ask, in place of the one that runs.
 * One round trip: what the volume is, and a report for a nonce of our own, made
 * here and now. The report is kept for that nonce alone; for any other, or for
 * a target, the tresord is asked again.
 */
export async function askVolume(client: VolumeClient, predecessor: string | null = null): Promise<FirstContact> {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")
  const ask = (targetInfo: Uint8Array, nonce: Uint8Array) =>
    client.call("Report", { targetInfo: base64(targetInfo), nonce: base64(nonce), predecessor })
  const own: Uint8Array = randomBytes(32)
  const { report: first, volume: status, enclave: identity } = await ask(NOBODY, own)
  let judged = false
  const enclave: Askable = {
    identity,
    freshNonce() {
      if (judged) return randomBytes(32)
      judged = true
      return own
    },
    async challenge(purpose, vouched = false) {
      const { nonce, parameters, enclave } = await client.call("Challenge", { purpose, predecessor, vouched })
      // A restart in between would mean another key pair: what was assessed is gone.
      if (Buffer.compare(enclave.publicKey, identity.publicKey) !== 0) {
        throw new TresorError(
          "ENCLAVE_CHANGED",
          Exit.denied,
          `Cannot seal a passphrase for ${status.name}: its enclave changed in between; try again`,
        )
      }
      return { nonce, parameters }
    },
    async report(targetInfo, nonce) {
      const asked = Buffer.compare(nonce, own) === 0 && Buffer.compare(targetInfo, NOBODY) === 0
      return asked ? first : (await ask(targetInfo, nonce)).report
    },
    async quote(nonce) {
      return (await client.call("Quote", { nonce: base64(nonce), predecessor })).quote
    },
  }
  return { status, enclave }
}
