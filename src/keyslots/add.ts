import { edit } from "./draft.ts"
import type { FreshKeyslot, Proof, VolumeKeeper } from "./parts.ts"

export interface Added {
  readonly slot: number
  /** The keyslot that opened with the existing passphrase. */
  readonly proved: number
}

/**
 * Adds keyslots for new secrets, proved by an existing one in each of the
 * sealed requests. One change of the header: all of them or none, and none when
 * `beforeWriting` rejects, which is called when all are made.
 */
export function addKeyslots(
  keeper: VolumeKeeper,
  proof: Proof,
  fresh: readonly FreshKeyslot[],
  beforeWriting: () => Promise<void> = async () => {},
): Promise<readonly Added[]> {
  return edit(keeper, async (draft) => {
    const added: Added[] = []
    for (const each of fresh) {
      // Once one keyslot is known to open, the others need not be tried again.
      const known = added.at(-1)?.proved ?? proof.slot
      added.push(await draft.enrol(keeper, { ...proof, slot: known }, each))
    }
    await beforeWriting()
    return added
  })
}

export async function addKeyslot(keeper: VolumeKeeper, proof: Proof, fresh: FreshKeyslot): Promise<Added> {
  const [added] = await addKeyslots(keeper, proof, [fresh])
  return added!
}
