/**
 * Decryption of a volume whose header was in front of its data: the header has a file of its own by now, and the volume's
 * first bytes take its place, still ciphertext, so that all others can move down to them (cryptsetup's decryption with
 * --header of a new file). At every moment a cut leaves the header in its file, and the data where that says; the same
 * command finds by the device's start how far this was.
 */
import { copyBytes, readBytes } from "../header/bytes.ts"
import { keyslotsArea } from "../luks2/areas.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { unfit } from "./enter.ts"
import type { PassPlace } from "./run.ts"

const PIECE = 1 << 20
const SECTOR = 512
/** Bytes of LUKS2's magic, at the beginning of either copy. */
const MAGIC = 6

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const withoutMagic = (sector: Uint8Array): Uint8Array => {
  const wiped = sector.slice()
  wiped.fill(0, 0, MAGIC)
  return wiped
}

/**
 * Each sector of the device's start is the header's in its file, or the volume's by now. Throws REENCRYPT_UNFIT (exit 4):
 * what is there may be somebody's.
 */
export async function checkFront(
  { store, data, path }: PassPlace,
  header: LuksHeader,
  { offset, size }: { readonly offset: bigint; readonly size: bigint },
): Promise<void> {
  const { headerSize } = header
  const end = Math.min(Number(size), Number(keyslotsArea(header).end))
  for (let at = 0; at < end; at += PIECE) {
    const length = Math.min(PIECE, end - at)
    const [now, saved, moved] = await Promise.all([
      readBytes(data, at, length),
      store.read(at, length),
      readBytes(data, Number(offset) + at, length),
    ])
    for (let n = 0; n < length; n += SECTOR) {
      const part = (of: Uint8Array) => of.subarray(n, n + SECTOR)
      if (same(part(now), part(saved)) || same(part(now), part(moved))) continue
      if ([0, headerSize].includes(at + n) && same(part(now), withoutMagic(part(saved)))) continue
      throw unfit(
        path,
        "what is in front of its data is not the header that --header names; where that is old, delete the file",
      )
    }
  }
}

/** Copies the first `size` bytes of the data, which begin at `offset`, to the device's start; nothing takes that for a header then. */
export async function fillFront(
  { store, data }: PassPlace,
  { headerSize }: LuksHeader,
  { offset, size }: { readonly offset: bigint; readonly size: bigint },
): Promise<void> {
  for (const at of [0, headerSize]) {
    const [now, saved] = [await readBytes(data, at, SECTOR), await store.read(at, SECTOR)]
    if (same(now, saved)) await data.write(at, withoutMagic(now))
  }
  await data.flush()
  await copyBytes(data, Number(offset), 0, Number(size))
  await data.flush()
}
