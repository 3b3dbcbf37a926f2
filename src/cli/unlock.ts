/** Asking for a passphrase and giving it to a waiting volume. */

import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { askVolume } from "../control/enclave.ts"
import { LEGACY_CIPHER, type VolumeStatus } from "../control/volume.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { type Asked, admitted } from "../enclave/asked.ts"
import { decodeLegacyParameters, decodePublicHeader } from "../enclave/marshal.ts"
import type { PublicHeader } from "../luks2/types.ts"
import { mayBeMistyped, NO_KEY } from "./messages.ts"
import { err } from "./output/output.ts"
import { isInteractive, readSecret, type SecretSource, withSecret } from "./secrets.ts"
import { atTerminal } from "./trust.ts"

export interface UnlockOptions extends SecretSource {
  readonly tries: number
  readonly keySlot?: number
  readonly policy?: string
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
      return await withSecret(readSecret(prompt, options, { verify: options.verify === true }), attempt)
    } catch (error) {
      if (!mayBeMistyped(error) || n >= tries) throw error
      err.line(`${NO_KEY}`)
    }
  }
}

/** What a tresord says, read; one that says anything else is of another version or worse. */
function read<T>(name: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new TresorError(
      "CONTROL_PROTOCOL",
      Exit.wrongDevice,
      `Cannot unlock ${name}: its tresord describes a header that makes no sense (${cause.message}); ` +
        "it may be of another version",
      { cause },
    )
  }
}

/** The request for a LUKS2 volume: what the client admits of what the tresord shows. */
async function unlockOf(
  { name, uuid }: VolumeStatus,
  parameters: Uint8Array,
  { keySlot, unsealed }: { readonly keySlot: number | undefined; readonly unsealed: boolean },
  check: (header: PublicHeader) => Promise<void>,
): Promise<Asked> {
  const slot = keySlot ?? null
  const shown = read(name, () => decodePublicHeader(parameters, uuid))
  const header = { ...shown, keyslots: admitted(shown.keyslots, { slot, unsealed }) }
  if (!unsealed && !header.keyslots.some(({ tried }) => tried) && shown.keyslots.length > 0) {
    const which = slot === null ? "no keyslot" : `keyslot ${slot}`
    throw new TresorError(
      "KEYSLOT_UNSEALED",
      Exit.denied,
      `Cannot unlock ${name}: ${which} is ${slot === null ? "" : "not "}sealed to its enclave; ` +
        "--unsealed tries the others (a recovery key, a portable passphrase)",
    )
  }
  await check(header)
  return { purpose: "unlock", header, slot }
}

function legacyOf({ name, uuid }: VolumeStatus, parameters: Uint8Array): Asked {
  return { purpose: "legacy", uuid, ...read(name, () => decodeLegacyParameters(parameters)) }
}

/** Whether the passphrase is for what the tresord serves: it must not choose that. */
function checkKind({ name, cipher }: VolumeStatus, legacy: boolean): void {
  if (legacy === (cipher === LEGACY_CIPHER)) return
  throw new TresorError(
    "PURPOSE_REFUSED",
    Exit.badArguments,
    legacy
      ? `Cannot use --legacy with ${name}: it is a LUKS2 volume; leave --legacy out`
      : `Cannot unlock ${name}: it serves mappings of 2016's flow, not a LUKS2 volume; if that is what you want, use --legacy`,
  )
}

export interface Whereabouts {
  /** Another machine, where the volume is. */
  readonly host?: string
  /** This command started the process that the enclave is in. */
  readonly startedHere?: boolean
}

/** Unlocks a volume that waits; rejects as the enclave decides. */
export async function unlockVolume(
  client: VolumeClient,
  options: UnlockOptions,
  { host, startedHere = false }: Whereabouts = {},
): Promise<VolumeStatus> {
  const status = await client.status()
  const legacy = options.legacy === true
  checkKind(status, legacy)
  const world = atTerminal()
  const enclave = await TrustedEnclave.assess(
    await askVolume(client),
    { policy: options.policy, startedHere, ...(host === undefined ? {} : { host }) },
    world,
  )
  const prompt = `Enter passphrase for ${status.path}`
  // On this machine the header is ours to read; elsewhere the host says what it is.
  const unsealed = host === undefined || options.unsealed === true
  let remember = () => {}
  const check = async (header: PublicHeader): Promise<void> => {
    if (host === undefined) return
    const { checkRemoteHeader } = await import("../attest/remote-header.ts")
    remember = await checkRemoteHeader(header, { name: status.name, host, tell: world.tell })
  }
  return withPassphrase(prompt, { ...options, verify: options.verifyPassphrase === true }, async (existing) => {
    const sealed = await enclave.sealFor(
      legacy ? "legacy" : "unlock",
      async (parameters) =>
        legacy
          ? legacyOf(status, parameters)
          : unlockOf(status, parameters, { keySlot: options.keySlot, unsealed }, check),
      { existing },
    )
    const { context, bytes } = sealed
    const base64 = (value: Uint8Array) => Buffer.from(value).toString("base64")
    const { volume } = await client.call("Unlock", {
      uuid: context.uuid,
      slot: context.slot,
      unsealed,
      nonce: base64(context.nonce),
      request: base64(context.request),
      message: base64(bytes),
    })
    remember()
    return volume
  })
}
