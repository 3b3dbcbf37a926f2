import { keyslotsArea } from "../luks2/areas.ts"
import { Draft } from "./draft.ts"
import type { VolumeKeeper } from "./parts.ts"

/**
 * Destroys every keyslot (cryptsetup luksErase): the header stays and names
 * none, whatever it requires, and the whole keyslots area is overwritten, whatever an interrupted
 * earlier operation left in it. Returns the numbers of the keyslots destroyed.
 */
export async function wipeKeyslots({ store, path }: Pick<VolumeKeeper, "store" | "path">): Promise<readonly number[]> {
  let destroyed: readonly number[] = []
  await store.update(
    async (header) => {
      const draft = new Draft(header, new Map(), path)
      // A keyslot of type reencrypt holds no key, and a header that requires reencryption is invalid without it.
      const holders = [...draft.metadata.keyslots].filter(([, { type }]) => type !== "reencrypt")
      destroyed = holders.map(([slot]) => slot).sort((a, b) => a - b)
      for (const slot of destroyed) draft.remove(slot)
      const { offset, end } = keyslotsArea(header)
      return { header: draft.header, wipeAreas: [{ offset, size: end - offset }] }
    },
    { destroys: true },
  )
  return destroyed
}
