/** Giving a passphrase to a tresord that waits: what the client admits, seals and sends. */
import type { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { type Asked, admitted } from "../enclave/asked.ts"
import { decodeLegacyParameters, decodePass, decodePublicHeader } from "../enclave/marshal.ts"
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

export interface PassWish {
  /** The reencryption goes on; `null`: the volume is unlocked by both keys, and that is all. */
  readonly goOn: {
    /** Most bytes of a zone. */
    readonly hotZone: number
    /** Bytes in a second; 0: as fast as it goes beside the volume's requests. */
    readonly throttle: number
  } | null
  /** For what another program made of it. */
  readonly vouched: boolean
  /** Also keyslots that are not sealed to the enclave. */
  readonly unsealed: boolean
}

const base64 = (value: Uint8Array) => Buffer.from(value).toString("base64")

interface Contact {
  readonly client: VolumeClient
  readonly enclave: TrustedEnclave
  readonly status: VolumeStatus
}

/**
 * The same for a volume whose reencryption is pending, which has two keys: `passphrase` opens a keyslot of each. Rejects as
 * the tresord and its enclave decide.
 */
export async function enterWith(
  { client, enclave, status: { name, uuid } }: Contact,
  passphrase: Uint8Array,
  { goOn, vouched, unsealed }: PassWish,
  check: (header: PublicHeader) => Promise<void> = async () => {},
): Promise<VolumeStatus> {
  const decide = async (parameters: Uint8Array): Promise<Asked> => {
    const shown = read(name, () => decodePass(parameters, uuid))
    await check(shown.previous)
    const tried = (header: PublicHeader): PublicHeader => ({
      ...header,
      keyslots: admitted(header.keyslots, { slot: null, unsealed }),
    })
    const pass = { ...shown, previous: tried(shown.previous), final: tried(shown.final), moved: null }
    // A host that says there is no MAC would have its enclave check none.
    if (!vouched && !shown.hasMac && (shown.previous.authenticated || shown.final.authenticated)) throw noMac(name)
    const mac = vouched || !shown.hasMac ? null : new Uint8Array()
    return { purpose: "reencrypt", pass: { ...pass, use: goOn === null ? "serve" : "both", resumed: { mac } } }
  }
  const { context, bytes } = await enclave.sealFor("reencrypt", decide, { existing: passphrase }, vouched)
  const { volume } = await client.call("Reencrypt", {
    uuid: context.uuid,
    unsealed,
    goOn: goOn !== null,
    vouched,
    hotZone: goOn?.hotZone ?? 0,
    throttle: goOn?.throttle ?? 0,
    nonce: base64(context.nonce),
    request: base64(context.request),
    message: base64(bytes),
  })
  return volume
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
 * Seals `passphrase` to the assessed enclave of the tresord behind `client`, which lets the enclave `successor` (MRENCLAVE,
 * hex) take the open volume over. The passphrase stays the caller's to wipe. Resolves with the keyslot that opened. Rejects
 * as `unlockWith`, and with VOLUME_LOCKED (exit 2).
 */
export async function approveWith(
  { client, enclave, status }: Contact,
  passphrase: Uint8Array,
  { keySlot: slot, successor }: { readonly keySlot: number | null; readonly successor: string },
): Promise<number> {
  const decide = async (parameters: Uint8Array): Promise<Asked> => {
    const shown = read(status.name, () => decodePublicHeader(parameters, status.uuid))
    const header = { ...shown, keyslots: admitted(shown.keyslots, { slot, unsealed: true }) }
    return { purpose: "approve", header, slot, successor }
  }
  const { context, bytes } = await enclave.sealFor("approve", decide, { existing: passphrase })
  const approved = await client.call("Approve", {
    slot: context.slot,
    unsealed: true,
    successor,
    nonce: base64(context.nonce),
    request: base64(context.request),
    message: base64(bytes),
  })
  return approved.slot
}

/**
 * Seals `passphrase` to the assessed enclave of the tresord behind `client` and has it unlock. The passphrase stays the
 * caller's to wipe. Rejects as the enclave decides (ENCLAVE_PASSPHRASE, exit 2), and with KEYSLOT_UNSEALED,
 * CONTROL_PROTOCOL, and what checkRemoteHeader throws.
 */
export async function unlockWith(
  { client, enclave, status }: Contact,
  passphrase: Uint8Array,
  { keySlot, unsealed, legacy, host, tell }: UnlockRequest,
): Promise<VolumeStatus> {
  let remember = () => {}
  const check = async (header: PublicHeader): Promise<void> => {
    if (host === null) return
    const { checkRemoteHeader } = await import("../attest/remote-header.ts")
    remember = await checkRemoteHeader(header, { name: status.name, host, tell })
  }
  const byBoth = async () => {
    if (keySlot !== null) throw needsBoth(status.name)
    const volume = await enterWith(
      { client, enclave, status },
      passphrase,
      { goOn: null, vouched: false, unsealed },
      check,
    )
    remember()
    return volume
  }
  if (status.reencryption !== null) return byBoth()
  const decide = async (parameters: Uint8Array): Promise<Asked> =>
    legacy ? legacyOf(status, parameters) : unlockOf(status, parameters, { keySlot, unsealed }, check)
  const sealed = await enclave
    .sealFor(legacy ? "legacy" : "unlock", decide, { existing: passphrase })
    .catch(async (error: unknown) => {
      // One was begun while the volume was open, and its command ended before the tresord was told.
      const pending = error instanceof TresorError && error.code === "LUKS2_REQUIREMENTS"
      if (pending && (await client.status()).reencryption !== null) return null
      throw error
    })
  if (sealed === null) return byBoth()
  const { context, bytes } = sealed
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

function needsBoth(name: string): TresorError {
  return new TresorError(
    "REENCRYPT_PENDING",
    Exit.badArguments,
    `Cannot unlock ${name} by one keyslot: its reencryption is pending, and a passphrase opens one of each key; ` +
      "leave --key-slot out",
  )
}

function noMac(name: string): TresorError {
  return new TresorError(
    "REENCRYPT_UNAUTHENTICATED",
    Exit.wrongDevice,
    `Cannot use ${name}: another program began its reencryption, or went on with it, so that its state is not ` +
      "authenticated; if that was you with `cryptsetup reencrypt`, vouch for it with `tresor reencrypt --resume --authenticate`",
  )
}
