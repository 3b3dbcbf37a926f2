/** A volume key opened for use: which keyslots are tried, what the header's MACs said, a salt sealed anew. */
import { Exit, TresorError } from "../base/errors.ts"
import { admitted } from "../enclave/asked.ts"
import { EnclaveError } from "../enclave/error.ts"
import type { Enclave, HeaderFacts, SealedRequest, VolumeHandle } from "../enclave/types.ts"
import type { HeaderAccess } from "../header/access.ts"
import type { Header } from "../luks2/types.ts"
import { explainUnlock, untried } from "./seal-status.ts"

export interface Unlocking {
  readonly enclave: Enclave
  readonly access: HeaderAccess
  /** What people call the volume, and where it lies. */
  readonly name: string
  readonly path: string
  /** An unlock went well although something is to be told. */
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}

export interface OpenedKey extends HeaderFacts {
  /** The caller's to give to a volume, or to close. */
  readonly handle: VolumeHandle
  readonly slot: number
  /** Whether the header has MACs. */
  readonly authenticated: boolean
  readonly resealed: Uint8Array | null
}

/** The header with the keyslots that are tried. Throws KEYSLOT_COSTLY (exit 2), KEYSLOT_MISSING (exit 1). */
export function withAdmitted(
  { access, name }: Unlocking,
  header: Header,
  { slot, unsealed }: { readonly slot: number | null; readonly unsealed: boolean },
): Header {
  const keyslots = admitted(header.keyslots, { slot, unsealed })
  if (keyslots.some((each) => each.tried)) return { ...header, keyslots }
  const skipped = slot === null ? untried({ ...header, keyslots }) : null
  if (skipped !== null) throw new TresorError("KEYSLOT_COSTLY", Exit.denied, `Cannot unlock ${name}: ${skipped}`)
  const why = (access.faults?.() ?? []).map((fault) => `; ${fault}`).join("")
  throw new TresorError(
    "KEYSLOT_MISSING",
    // cryptsetup's: no usable keyslot.
    Exit.badArguments,
    slot === null
      ? `Cannot unlock ${name}: its header has no ${unsealed ? "usable" : "sealed"} keyslot${why}`
      : `Cannot unlock ${name}: keyslot ${slot} is not in use; \`tresor key list\` names those that are${why}`,
  )
}

/**
 * Has the enclave open the volume key. Throws as the enclave decides, KEYSLOT_UNTRIED (exit 2), and
 * HEADER_KEYSLOT_CHANGED (exit 4): then no handle is left.
 */
export async function unlockKey(
  { enclave, access, name, path, warn }: Unlocking,
  header: Header,
  sealed: SealedRequest,
): Promise<OpenedKey> {
  const opened = await enclave.unlock(sealed, header).catch((error: unknown) => {
    throw explainFaults(explainUnlock(error, header, enclave.identity, path), access.faults?.() ?? [])
  })
  try {
    return { ...opened, authenticated: judgeSlots({ name, path, warn }, header, opened) }
  } catch (error) {
    enclave.closeVolume(opened.handle)
    throw error
  }
}

/** Whether the header has MACs. Throws HEADER_KEYSLOT_CHANGED (exit 4). */
export function judgeSlots(
  { name, path, warn }: Pick<Unlocking, "name" | "path" | "warn">,
  { macs }: Header,
  { slotsChanged, slotsAdded, slotsRemoved }: HeaderFacts,
): boolean {
  if (macs === null) return false
  if (slotsChanged.length > 0) throw keyslotsChanged(name, path, slotsChanged)
  if (slotsAdded.length + slotsRemoved.length > 0) {
    warn("keyslots were added or removed by another program", { slotsAdded, slotsRemoved })
  }
  return true
}

/** Writes a salt sealed anew to the header. The old seal still opens, so a header that cannot be written now does not stop the unlock. */
export async function saveResealed({ access, warn }: Unlocking, { slot, resealed }: OpenedKey): Promise<void> {
  if (resealed === null) return
  await access.saveSealed(slot, resealed).catch((error: unknown) => {
    warn("the resealed salt was not saved", { slot, reason: (error as Error).message })
  })
}

/** A wrong passphrase may be the right one of a keyslot that could not be tried. */
function explainFaults(error: unknown, faults: readonly string[]): unknown {
  if (faults.length === 0 || !(error instanceof EnclaveError) || error.status !== "passphrase") return error
  return new TresorError(
    "KEYSLOT_UNTRIED",
    Exit.denied,
    `No key available with this passphrase among the keyslots that can be tried; ${faults.join("; ")}; ` +
      "another passphrase or the recovery key may open the volume (`tresor recover`)",
    { cause: error },
  )
}

function keyslotsChanged(name: string, path: string, slots: readonly number[]): TresorError {
  return new TresorError(
    "HEADER_KEYSLOT_CHANGED",
    Exit.wrongDevice,
    `Cannot unlock ${name}: keyslot ${slots.join(", ")} was changed since the header was authenticated; ` +
      `if that was you, vouch for it with \`tresor header authenticate ${path}\``,
  )
}
