import { Draft } from "./draft.ts"
import type { Proof, VolumeKeeper } from "./parts.ts"

/** Tests a passphrase; nothing is written. Returns the keyslot that opened. */
export async function proveKeyslot(keeper: VolumeKeeper, proof: Proof): Promise<number> {
  const header = await keeper.store.reload()
  const draft = await Draft.read(keeper.store, header, keeper.path)
  return draft.prove(keeper, proof.secret, draft.slotsToTry(proof.slot))
}
