/** A volume's plaintext side over the store its data lie on; locked. */
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import type { Segment } from "../luks2/types.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { type OpenStoreOptions, openStore } from "../store/open.ts"
import type { Store } from "../store/store.ts"
import { Volume, type VolumeOptions } from "./volume.ts"

const PAGE = 4096n

export type OpenVolumeOptions = OpenStoreOptions & Pick<VolumeOptions, "discards" | "keyGraceMs" | "pastCache">

/** Throws TresorError STORE_UNFIT, SEGMENT_OUTSIDE (exit 4), and as openStore. */
export async function openVolumeOn(path: string, segment: Segment, options: OpenVolumeOptions): Promise<Volume> {
  const store = await openStore(path, options)
  try {
    return over(store, path, segment, options)
  } catch (error) {
    await store.close()
    throw error
  }
}

function over(store: Store, path: string, segment: Segment, options: OpenVolumeOptions): Volume {
  const { offset, size, sectorSize } = segment
  const { minimumBlock = 1 } = store
  const unfit = (fact: string) => new TresorError("STORE_UNFIT", Exit.wrongDevice, `Cannot open ${path}: ${fact}`)
  const whole = sectorSize % minimumBlock === 0 && offset % BigInt(minimumBlock) === 0n
  const has = `the volume has sectors of ${sectorSize} from byte ${offset} on`
  if (isNbdUri(path) && !whole) {
    throw unfit(`the NBD server takes whole blocks of ${minimumBlock} bytes, ${has}; serve it with smaller blocks`)
  }
  // The header goes through the page cache: no page that it shares with the volume may go past.
  const block = store.disk?.block ?? null
  const blocks = block === null || (sectorSize % block === 0 && offset % PAGE === 0n)
  if (options.direct && !blocks) {
    throw unfit(`with O_DIRECT it takes whole blocks of ${block} bytes, ${has}; leave --direct out`)
  }
  try {
    return new Volume({
      store,
      offset: Number(offset),
      size: size === null ? null : Number(size),
      sectorSize,
      readOnly: options.readOnly,
      ...(options.discards !== undefined && { discards: options.discards }),
      ...(options.keyGraceMs !== undefined && { keyGraceMs: options.keyGraceMs }),
      // Else everything goes through it.
      ...(options.pastCache === true && blocks && { pastCache: true }),
    })
  } catch (error) {
    if (!(error instanceof IoError)) throw error
    throw new TresorError("SEGMENT_OUTSIDE", Exit.wrongDevice, `Cannot open ${path}: ${error.message}`)
  }
}
