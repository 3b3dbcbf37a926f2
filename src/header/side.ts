/** A header in reencryption as it was before, or will be after: what the enclave takes of either key. */
import type { LuksHeader } from "../luks2/metadata.ts"
import { type Reencryption, sideOf } from "../luks2/reencryption.ts"
import type { Header } from "../luks2/types.ts"
import { enclaveHeader, triedByDefault } from "../luks2/volume-header.ts"
import type { HeaderStore } from "./header-store.ts"

/** Areas of the keyslots that the enclave may be given. */
export async function areasOf(store: HeaderStore, { metadata }: LuksHeader): Promise<Map<number, Uint8Array>> {
  const areas = new Map<number, Uint8Array>()
  for (const [slot, keyslot] of metadata.keyslots) {
    if (!("foreign" in keyslot)) areas.set(slot, await store.readArea(slot))
  }
  return areas
}

/** With the keyslots a passphrase is tried on. Throws as enclaveHeader. */
export async function sideHeader(store: HeaderStore, reencryption: Reencryption, side: "old" | "new"): Promise<Header> {
  const header = sideOf(store.header, reencryption, side)
  return enclaveHeader(header, await areasOf(store, header), triedByDefault(header))
}
