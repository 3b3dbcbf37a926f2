import { Exit, TresorError } from "../base/errors.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { RECOVERY_TOKEN } from "../luks2/recovery-key.ts"
import { TRESOR_TOKEN } from "../luks2/tresor-token.ts"
import { type Added, addKeyslots } from "./add.ts"
import { hasTresorToken, slotsOfTokens } from "./metadata-edit.ts"
import type { FreshKeyslot, Proof, VolumeKeeper } from "./parts.ts"
import { nameSlots } from "./seal-status.ts"

/** Throws ADOPTED_ALREADY (exit 5). */
export function checkAdoptable({ metadata }: LuksHeader, path: string): void {
  if (!hasTresorToken(metadata)) return
  const slots = nameSlots(slotsOfTokens(metadata, TRESOR_TOKEN))
  throw new TresorError(
    "ADOPTED_ALREADY",
    Exit.busy,
    `Cannot adopt ${path}: it has a Tresor passphrase in ${slots}; \`tresor key add\` adds another`,
  )
}

/** Whether a recovery key exists that adopt need not add to. */
export function hasRecoveryKey({ metadata }: LuksHeader): boolean {
  return slotsOfTokens(metadata, RECOVERY_TOKEN).length > 0
}

/**
 * Adds a Tresor passphrase, and a recovery key when given, to a volume that
 * cryptsetup made. Nothing else changes. `beforeWriting`: see addKeyslots.
 */
export async function adopt(
  keeper: VolumeKeeper,
  proof: Proof,
  keyslots: readonly FreshKeyslot[],
  beforeWriting: () => Promise<void> = async () => {},
): Promise<readonly Added[]> {
  checkAdoptable(keeper.store.header, keeper.path)
  return addKeyslots(keeper, proof, keyslots, beforeWriting)
}
