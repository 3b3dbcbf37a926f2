/** A tresord's enclave, to be judged and sealed to. */
import type { Askable } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { VolumeStatus } from "./volume.ts"
import type { VolumeClient } from "./volume-client.ts"

/** The enclave that `volume`, a status of just now, speaks of. */
export function askVolume(client: VolumeClient, volume: VolumeStatus): Askable {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")
  return {
    identity: volume.enclave,
    async challenge(purpose) {
      const { nonce, parameters, enclave } = await client.call("Challenge", { purpose })
      // A restart in between would mean another key pair: what was assessed is gone.
      if (Buffer.compare(enclave.publicKey, volume.enclave.publicKey) !== 0) {
        throw new TresorError(
          "ENCLAVE_CHANGED",
          Exit.denied,
          `Cannot seal a passphrase for ${volume.name}: its enclave changed in between; try again`,
        )
      }
      return { nonce, parameters }
    },
    async report(targetInfo, nonce) {
      const { report } = await client.call("Report", { targetInfo: base64(targetInfo), nonce: base64(nonce) })
      return report
    },
    async quote(nonce) {
      return (await client.call("Quote", { nonce: base64(nonce) })).quote
    },
  }
}
