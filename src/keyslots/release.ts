import { Exit, TresorError } from "../base/errors.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { TRESOR_TOKEN } from "../luks2/tresor-token.ts"
import { edit } from "./draft.ts"
import { adoptedRecoverySlots, slotsOfTokens, volumeSlots } from "./metadata-edit.ts"
import type { VolumeKeeper } from "./parts.ts"

export interface Released {
  readonly removed: readonly number[]
  readonly remaining: readonly number[]
}

/** Keyslots that adopt made, and those that stay. Throws NOT_ADOPTED (exit 1), NOTHING_REMAINS (exit 1). */
export function releasePlan({ metadata }: LuksHeader, path: string): Released {
  const ours = slotsOfTokens(metadata, TRESOR_TOKEN)
  if (ours.length === 0) {
    throw new TresorError("NOT_ADOPTED", Exit.badArguments, `Cannot release ${path}: it has no Tresor passphrase`)
  }
  const removed = [...ours, ...adoptedRecoverySlots(metadata)]
  const remaining = volumeSlots(metadata).filter((slot) => !removed.includes(slot))
  if (remaining.length > 0) return { removed, remaining }
  throw new TresorError(
    "NOTHING_REMAINS",
    Exit.badArguments,
    `Cannot release ${path}: no keyslot would remain that cryptsetup opens; add one first with \`tresor key add --portable\``,
  )
}

/**
 * Undoes adopt: destroys the keyslots and tokens of ours. `secret` must open one
 * that stays, so that the owner is not locked out.
 */
export function release(keeper: VolumeKeeper, secret: Uint8Array): Promise<Released> {
  return edit(keeper, async (draft) => {
    const plan = releasePlan(draft.header, keeper.path)
    await draft.prove(keeper, secret, draft.affordable(plan.remaining))
    for (const slot of plan.removed) draft.remove(slot)
    return plan
  })
}
