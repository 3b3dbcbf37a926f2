/** Finds other formats on a store, as udev, mount and installers would. */
import { probeByBlkid } from "./blkid.ts"
import { findSignature, findUnknownToBlkid } from "./signatures.ts"
import type { Store } from "./store.ts"

/** What is kept there beside LUKS, or with `luks` LUKS too, by name; `null`: nothing that is known. */
export async function signatureOn(store: Store, options: { readonly luks: boolean }): Promise<string | null> {
  const theirs = store.fd === null ? null : await probeByBlkid(store.fd, options)
  if (theirs === null) return findSignature(store, options)
  return theirs === "nothing" ? findUnknownToBlkid(store, options) : theirs
}
