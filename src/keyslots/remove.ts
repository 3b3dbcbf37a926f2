import { Exit, TresorError } from "../base/errors.ts"
import type { Metadata } from "../luks2/metadata.ts"
import { edit } from "./draft.ts"
import { hasTresorToken, inactive, tresorToken, volumeSlots } from "./metadata-edit.ts"
import type { VolumeKeeper } from "./parts.ts"

export interface Removed {
  readonly slot: number
  /** Keyslots that still open the volume. */
  readonly remaining: readonly number[]
  /** Whether all that remain are sealed to this machine. */
  readonly boundToMachine: boolean
}

function lastSlot(slot: number, path: string): TresorError {
  return new TresorError(
    "KEYSLOT_LAST",
    Exit.badArguments,
    `Keyslot ${slot} is the last one of ${path}: without it all data is lost, and a recovery key cannot open it again; ` +
      "use --force to destroy it anyway",
  )
}

/** Whether nothing but this machine opens the volume. */
export function boundToMachine(metadata: Metadata): boolean {
  return hasTresorToken(metadata) && volumeSlots(metadata).every((slot) => tresorToken(metadata, slot) !== null)
}

/** What can be known without a passphrase. Throws KEYSLOT_INACTIVE, or KEYSLOT_LAST unless `force` (exit 1). */
export function checkRemovable(
  metadata: Metadata,
  path: string,
  { slot, force }: { readonly slot: number | null; readonly force: boolean },
): void {
  const slots = volumeSlots(metadata)
  if (slot !== null && !slots.includes(slot)) throw inactive(slot)
  if (slots.length === 1 && !force) throw lastSlot(slots[0]!, path)
}

/**
 * Destroys keyslot `slot`, or the one that `secret` opens. Any passphrase of
 * the volume proves; one that would take hours is tried only where it is named and there is no other. Throws
 * KEYSLOT_LAST (exit 1) unless `force`, KEYSLOT_COSTLY (exit 2).
 */
export function removeKeyslot(
  keeper: VolumeKeeper,
  secret: Uint8Array,
  { slot, force }: { readonly slot: number | null; readonly force: boolean },
): Promise<Removed> {
  return edit(keeper, async (draft) => {
    const before = volumeSlots(draft.metadata)
    checkRemovable(draft.metadata, keeper.path, { slot, force })
    const proved = await draft.prove(keeper, secret, draft.affordable(before, slot))
    const doomed = slot ?? proved
    draft.remove(doomed)
    return { slot: doomed, remaining: volumeSlots(draft.metadata), boundToMachine: boundToMachine(draft.metadata) }
  })
}
