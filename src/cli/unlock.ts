/** Asking for a passphrase and giving it to a waiting volume. */
import { LEGACY_CIPHER, type VolumeStatus } from "../control/volume.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { err } from "../output/output.ts"
import { isWrongPassphrase, NO_KEY } from "./messages.ts"
import { askVolume, TrustedEnclave } from "./sealed.ts"
import { isInteractive, readSecret, type SecretSource, withSecret } from "./secrets.ts"

export interface UnlockOptions extends SecretSource {
  readonly tries: number
  readonly keySlot?: number
  readonly policy?: string
  readonly verifyPassphrase?: true
}

/**
 * Calls `attempt` with a passphrase, again after a wrong one while it is typed
 * and tries are left (cryptsetup: what comes from a file or pipe is tried once).
 */
export async function withPassphrase<T>(
  prompt: string,
  options: SecretSource & { readonly tries: number; readonly verify?: boolean },
  attempt: (secret: Uint8Array) => Promise<T>,
): Promise<T> {
  const tries = isInteractive(options) ? options.tries : 1
  for (let n = 1; ; n++) {
    try {
      return await withSecret(readSecret(prompt, options, { verify: options.verify === true }), attempt)
    } catch (error) {
      if (!isWrongPassphrase(error) || n >= tries) throw error
      err.line(`${NO_KEY}`)
    }
  }
}

/** Unlocks a volume that waits; rejects as the enclave decides. */
export async function unlockVolume(client: VolumeClient, options: UnlockOptions, host?: string): Promise<VolumeStatus> {
  const status = await client.status()
  const enclave = await TrustedEnclave.assess(await askVolume(client), {
    policy: options.policy,
    ...(host === undefined ? {} : { host }),
  })
  const prompt = `Enter passphrase for ${status.path}`
  return withPassphrase(prompt, { ...options, verify: options.verifyPassphrase === true }, async (existing) => {
    const slot = options.keySlot ?? null
    const purpose = status.cipher === LEGACY_CIPHER ? "legacy" : "unlock"
    const sealed = await enclave.seal({ purpose, uuid: status.uuid, slot, freshSlot: null }, { existing })
    const { volume } = await client.call("Unlock", {
      uuid: status.uuid,
      slot,
      nonce: Buffer.from(sealed.context.nonce).toString("base64"),
      message: Buffer.from(sealed.bytes).toString("base64"),
    })
    return volume
  })
}
