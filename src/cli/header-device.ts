/** What a header lies on, by its path: a file, a block device, or an NBD server's export. */

import type { HeaderDevice } from "../luks2/device.ts"
import { openFileDevice } from "../luks2/file-device.ts"

const NBD_URI = /^nbd(s|\+unix|s\+unix)?:\/\//

export function isNbdUri(path: string): boolean {
  return NBD_URI.test(path)
}

export async function openHeaderDevice(
  path: string,
  options: { readonly readOnly: boolean; readonly exclusive?: boolean },
): Promise<HeaderDevice> {
  if (!isNbdUri(path)) return openFileDevice(path, options)
  const { openStoreDevice } = await import("../luks2/store-device.ts")
  return openStoreDevice(path, options)
}
