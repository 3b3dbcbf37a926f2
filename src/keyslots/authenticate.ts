import { Exit, TresorError } from "../base/errors.ts"
import { edit } from "./draft.ts"
import { hasTresorToken, setMacs } from "./metadata-edit.ts"
import type { Proof, VolumeKeeper } from "./parts.ts"
import { explainUnlock } from "./seal-status.ts"

/**
 * Vouches with a passphrase for the header as it is now: the enclave makes
 * every MAC again. Returns whether the header of a sealed keyslot had none, so
 * that nothing was compared. Throws NOT_AUTHENTICATED (exit 1) for a volume
 * without a tresor token to keep them.
 */
export function authenticateHeader(keeper: VolumeKeeper, proof: Proof): Promise<{ readonly macsMissing: boolean }> {
  const { enclave, seal, path } = keeper
  return edit(keeper, async (draft) => {
    if (!hasTresorToken(draft.metadata)) {
      throw new TresorError(
        "NOT_AUTHENTICATED",
        Exit.badArguments,
        `Cannot authenticate the header of ${path}: it has no Tresor passphrase; \`tresor adopt\` adds one`,
      )
    }
    const header = draft.tried(proof)
    const sealed = await seal({ purpose: "authenticate", header, slot: proof.slot }, { existing: proof.secret })
    const { macs, macsMissing } = await enclave.authenticate(sealed, header).catch((error: unknown) => {
      throw explainUnlock(error, header, enclave.identity, path)
    })
    draft.metadata = setMacs(draft.metadata, macs)
    return { macsMissing }
  })
}
