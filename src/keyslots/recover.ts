import { EnclaveError, type StatusName } from "../enclave/error.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { RECOVERY_TOKEN } from "../luks2/recovery-key.ts"
import { affordable } from "../luks2/volume-header.ts"
import { type Added, addKeyslot } from "./add.ts"
import { Draft } from "./draft.ts"
import { slotsOfTokens, tresorToken, volumeSlots } from "./metadata-edit.ts"
import type { FreshKeyslot, VolumeKeeper } from "./parts.ts"
import { type SlotStrength, slotStrengths } from "./strength.ts"

export interface RecoveryReport {
  /** The keyslot the recovery key opened. */
  readonly slot: number
  readonly others: readonly (SlotStrength & {
    /** Tresor keyslots: whether their salt can be unsealed here, else why not, or that it would take hours; `null` for others. */
    readonly seal: "opens" | "untried" | StatusName | null
  })[]
}

/**
 * Keyslots a recovery key may open: those marked as such, or, in a volume whose
 * token another program lost, all that are not sealed.
 */
export function recoverySlots({ metadata }: LuksHeader): readonly number[] {
  const slots = volumeSlots(metadata)
  const marked = slotsOfTokens(metadata, RECOVERY_TOKEN).filter((slot) => slots.includes(slot))
  return marked.length > 0 ? marked : slots.filter((slot) => tresorToken(metadata, slot) === null)
}

/** The sealed keyslot is tried with the recovery key: what is asked is how it fails. */
async function sealOf(
  keeper: VolumeKeeper,
  draft: Draft,
  slot: number,
  key: Uint8Array,
): Promise<"opens" | StatusName> {
  const { enclave, seal } = keeper
  const header = draft.enclaveHeader((each) => each === slot)
  const sealed = await seal({ purpose: "unlock", header, slot }, { existing: key })
  try {
    const opened = await enclave.unlock(sealed, header)
    enclave.closeVolume(opened.handle)
    return "opens"
  } catch (error) {
    if (!(error instanceof EnclaveError)) throw error
    return error.status === "passphrase" ? "opens" : error.status
  }
}

/** Proves the recovery key and says what the other keyslots are worth; changes nothing. */
export async function testRecovery(keeper: VolumeKeeper, key: Uint8Array): Promise<RecoveryReport> {
  const header = await keeper.store.reload()
  const draft = await Draft.read(keeper.store, header, keeper.path)
  const slot = await draft.prove(keeper, key, draft.affordable(recoverySlots(header)))
  const others: RecoveryReport["others"][number][] = []
  const cheap = affordable(header)
  for (const each of slotStrengths(header.metadata, [slot])) {
    const seal =
      each.kind !== "tresor" ? null : cheap(each.slot) ? await sealOf(keeper, draft, each.slot, key) : "untried"
    others.push({ ...each, seal })
  }
  return { slot, others }
}

/** Sets a new passphrase, proved by the recovery key in keyslot `slot`. Old keyslots stay as they are. */
export function recover(
  keeper: VolumeKeeper,
  { key, slot }: { readonly key: Uint8Array; readonly slot: number },
  fresh: FreshKeyslot,
): Promise<Added> {
  return addKeyslot(keeper, { secret: key, slot }, fresh)
}
