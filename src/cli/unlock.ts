/** Asking for a passphrase and giving it to a waiting volume. */
import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { TresorError } from "../base/errors.ts"
import { askVolume } from "../control/enclave.ts"
import { checkKind, unlockWith } from "../control/unlock.ts"
import type { VolumeStatus } from "../control/volume.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { mayBeMistyped, NO_KEY } from "./messages.ts"
import { err } from "./output/output.ts"
import { isInteractive, readSecret, type SecretSource, withSecret } from "./secrets.ts"
import type { Succession, SuccessionWords } from "./succession.ts"
import { atTerminal } from "./trust.ts"

export interface UnlockWords extends SecretSource, SuccessionWords {
  readonly tries: number
  readonly verifyPassphrase?: true
  /** Another machine's volume: also keyslots that are not sealed to its enclave. Here, all are tried anyway. */
  readonly unsealed?: true
  /** The passphrase is for a mapping of 2016's flow. */
  readonly legacy?: true
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
      const how = { verify: options.verify === true, again: n > 1 }
      return await withSecret(readSecret(prompt, options, how), attempt)
    } catch (error) {
      if (!mayBeMistyped(error) || n >= tries) throw error
      err.line(`${NO_KEY}`)
    }
  }
}

export interface Whereabouts {
  /** Another machine, where the volume is. */
  readonly host?: string
  /** This command started the process that the enclave is in. */
  readonly startedHere?: boolean
}

/** A volume that waits, whose enclave is trusted. */
export interface WaitingVolume {
  /** Of its store. */
  readonly path: string
  /** Rejects as the enclave decides. The passphrase stays the caller's. */
  unlock(passphrase: Uint8Array): Promise<VolumeStatus>
}

export async function awaitKey(
  client: VolumeClient,
  options: UnlockWords,
  { host, startedHere = false }: Whereabouts = {},
): Promise<WaitingVolume> {
  const contact = await askVolume(client)
  const { status } = contact
  const legacy = options.legacy === true
  checkKind(status, legacy)
  const world = atTerminal()
  const enclave = await TrustedEnclave.assess(
    contact.enclave,
    { policy: options.policy, startedHere, ...(host === undefined ? {} : { host }) },
    { ...world, ...(legacy && host === undefined ? await keptHere(status.enclave) : {}) },
  )
  const request = {
    keySlot: options.keySlot ?? null,
    // On this machine the header is ours to read; elsewhere the host says what it is.
    unsealed: host === undefined || options.unsealed === true,
    legacy,
    host: host ?? null,
    tell: world.tell,
  }
  let succession: Succession | null = null
  return {
    path: status.path,
    async unlock(passphrase) {
      const unlock = () => unlockWith({ client, enclave, status }, passphrase, request)
      try {
        return await unlock()
      } catch (error) {
        if (legacy || !isSealedElsewhere(error)) throw error
        succession ??= new (await import("./succession.ts")).Succession(contact, client, options, host)
        if (!(await succession.helps(passphrase))) throw error
        return unlock()
      }
    },
  }
}

/** Asks for the passphrase of a volume that waits, and unlocks it; rejects as the enclave decides. */
export async function unlockVolume(
  client: VolumeClient,
  options: UnlockWords,
  whereabouts: Whereabouts = {},
): Promise<VolumeStatus> {
  const waiting = await awaitKey(client, options, whereabouts)
  const how = { ...options, verify: options.verifyPassphrase === true }
  return withPassphrase(`Enter passphrase for ${waiting.path}`, how, (passphrase) => waiting.unlock(passphrase))
}

/** An enclave that runs may be of another version, whose image is kept here. */
export async function keptHere({ mrenclave }: VolumeStatus["enclave"]) {
  const { keptImages, keptPlaces } = await import("../enclave/kept-images.ts")
  return keptImages(keptPlaces()).some((image) => image.mrenclave === mrenclave) ? { own: { mrenclave } } : {}
}

/** By another enclave than the one that runs, as far as the error tells. */
function isSealedElsewhere(error: unknown): boolean {
  return error instanceof TresorError && ["ENCLAVE_SEAL_ENCLAVE", "ENCLAVE_SEAL_SIGNER"].includes(error.code)
}
