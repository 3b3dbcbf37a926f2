/** Giving a passphrase to a tresord that waits: what the client admits, seals and sends. */
import type { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { type Asked, admitted } from "../enclave/asked.ts"
import { decodeLegacyParameters, decodePublicHeader } from "../enclave/marshal.ts"
import type { PublicHeader } from "../luks2/types.ts"
import { LEGACY_CIPHER, type VolumeStatus } from "./volume.ts"
import type { VolumeClient } from "./volume-client.ts"

/** What a tresord says, read; one that says anything else is of another version or worse. */
function read<T>(name: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new TresorError(
      "CONTROL_PROTOCOL",
      Exit.wrongDevice,
      `Cannot unlock ${name}: its tresord describes an invalid header (${cause.message}); ` +
        "it may be of another version",
      { cause },
    )
  }
}

/** The request for a LUKS2 volume: what the client admits of what the tresord shows. */
async function unlockOf(
  { name, uuid }: VolumeStatus,
  parameters: Uint8Array,
  { keySlot: slot, unsealed }: { readonly keySlot: number | null; readonly unsealed: boolean },
  check: (header: PublicHeader) => Promise<void>,
): Promise<Asked> {
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
export function checkKind({ name, cipher }: VolumeStatus, legacy: boolean): void {
  if (legacy === (cipher === LEGACY_CIPHER)) return
  throw new TresorError(
    "PURPOSE_REFUSED",
    Exit.badArguments,
    legacy
      ? `Cannot use --legacy with ${name}: it is a LUKS2 volume; leave --legacy out`
      : `Cannot unlock ${name}: it serves mappings of 2016's flow, not a LUKS2 volume; to unlock them, use --legacy`,
  )
}

export interface UnlockRequest {
  readonly keySlot: number | null
  /** Also keyslots that are not sealed to the enclave. */
  readonly unsealed: boolean
  /** The passphrase is for a mapping of 2016's flow. */
  readonly legacy: boolean
  /** Another machine, as given to --remote, which says what the header is; `null`: this one. */
  readonly host: string | null
  /** Hears what is remembered of another machine's header. */
  readonly tell: (line: string) => void
}

/**
 * Seals `passphrase` to the assessed enclave of the tresord behind `client` and has it unlock. The passphrase stays the
 * caller's to wipe. Rejects as the enclave decides (ENCLAVE_PASSPHRASE, exit 2), and with KEYSLOT_UNSEALED,
 * CONTROL_PROTOCOL, and what checkRemoteHeader throws.
 */
export async function unlockWith(
  {
    client,
    enclave,
    status,
  }: {
    readonly client: VolumeClient
    readonly enclave: TrustedEnclave
    readonly status: VolumeStatus
  },
  passphrase: Uint8Array,
  { keySlot, unsealed, legacy, host, tell }: UnlockRequest,
): Promise<VolumeStatus> {
  let remember = () => {}
  const check = async (header: PublicHeader): Promise<void> => {
    if (host === null) return
    const { checkRemoteHeader } = await import("../attest/remote-header.ts")
    remember = await checkRemoteHeader(header, { name: status.name, host, tell })
  }
  const decide = async (parameters: Uint8Array): Promise<Asked> =>
    legacy ? legacyOf(status, parameters) : unlockOf(status, parameters, { keySlot, unsealed }, check)
  const { context, bytes } = await enclave.sealFor(legacy ? "legacy" : "unlock", decide, { existing: passphrase })
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
}
