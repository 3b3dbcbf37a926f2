/** A volume whose reencryption is pending, opened in this process: by both keys; its pass goes no further here. */
import type { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { Enclave } from "../enclave/types.ts"
import type { OpenHeader } from "../header/access.ts"
import { endUse, prepareUse } from "../reencrypt/in-use.ts"
import { bothKeys, describePass, enterPass, needsWriting } from "../reencrypt/resume.ts"
import { type Pass, placesOf } from "../reencrypt/run.ts"
import { probeAt } from "../reencrypt/zones.ts"
import { lockReencryption } from "../store/header-lock.ts"
import type { Volume } from "../volume/volume.ts"

interface Opening {
  readonly path: string
  readonly access: OpenHeader
  readonly enclave: Enclave
  readonly trusted: TrustedEnclave
  /** Locked. */
  readonly volume: Volume
  readonly passphrase: Uint8Array
}

export interface OpenedPass {
  /** Of the new key. */
  readonly slot: number
  /** Binds the header to the data again, which nobody changes any more; `null`: nothing is to be bound. */
  readonly leave: (() => Promise<void>) | null
}

/**
 * Unlocks the volume; a zone that was being converted is recovered first. Throws REENCRYPT_BUSY (exit 5), REENCRYPT_PENDING
 * (exit 4: read-only, and there is such a zone), and as describePass and the enclave decide.
 */
export function openPending({ path, access, enclave, trusted, volume, passphrase }: Opening): Promise<OpenedPass> {
  return access.use(async (store) => {
    const { readOnly } = volume
    const free = readOnly ? async () => {} : await lockReencryption(store.header.uuid, path)
    try {
      const place = { store, data: volume.ciphertext, path }
      const { pass: described, ...rest } = await describePass(place, false)
      if (readOnly && described.progress.hot > 0n) throw needsWriting(path)
      const asked = { ...described, ...bothKeys(described, path), use: "serve" } as const
      const sealed = await trusted.seal({ purpose: "reencrypt", pass: asked }, { existing: passphrase })
      const { handle, slot } = await enterPass({ enclave, path }, asked, sealed)
      const pass: Pass = { ...place, ...rest, enclave, handle }
      let position: number
      try {
        position = readOnly ? Number(described.progress.position) : await prepareUse(pass)
        volume.unlock(enclave, handle)
      } catch (error) {
        if (enclave.alive) enclave.closeVolume(handle)
        throw error
      }
      // The last zone was recovered: nothing is pending any more.
      const over = readOnly || position === rest.total
      return { slot, leave: over ? null : () => leave(access, pass, position) }
    } finally {
      await free()
    }
  })
}

function leave(access: OpenHeader, pass: Pass, position: number): Promise<void> {
  const { data, total, reencryption } = pass
  return access.use(async (store) => {
    await data.flush()
    await endUse({ ...pass, store }, await probeAt({ data, total, ...placesOf(reencryption) }, position))
  })
}

/** Throws REENCRYPT_PENDING (exit 1): one keyslot has one of both keys. */
export function checkAnySlot(path: string, keySlot: number | undefined): void {
  if (keySlot === undefined) return
  throw new TresorError(
    "REENCRYPT_PENDING",
    Exit.badArguments,
    `Cannot unlock ${path} by one keyslot: its reencryption is pending, and a passphrase opens one of each key; leave keySlot out`,
  )
}
