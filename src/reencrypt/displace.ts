/**
 * Room for a header in front of plaintext (cryptsetup's encryption with --reduce-device-size): the last bytes of the
 * device are unused, and its first ones go there. At every moment a cut leaves either the plaintext's start in its place,
 * or a valid header, or both of them whole at the end, where the same command finds them: the start of the data in the
 * last `shift` bytes, and the header that is to replace it in the `shift` bytes before those, which the first zone
 * overwrites. cryptsetup has the header in a file of the working directory instead.
 */
import { copyBytes, readBytes } from "../header/bytes.ts"
import { HeaderStore } from "../header/header-store.ts"
import type { MadeVolume } from "../keyslots/create.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { MemoryStore } from "../store/memory-store.ts"
import type { Store } from "../store/store.ts"

const PIECE = 1 << 20
const SECTOR = 512

async function write(data: Store, to: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += PIECE) await data.write(to + at, bytes.subarray(at, at + PIECE))
  await data.flush()
}

/** Everything behind both copies first, so that the header that is valid first finds its keyslots. */
async function replaceHead(data: Store, image: Uint8Array, headerSize: number): Promise<void> {
  await data.locked("exclusive", async () => {
    await write(data, 2 * headerSize, image.subarray(2 * headerSize))
    await write(data, 0, image.subarray(0, headerSize))
    await write(data, headerSize, image.subarray(headerSize, 2 * headerSize))
  })
}

/** Where the header is kept until it is in its place, and the plaintext's start until it is encrypted. */
const staged = ({ size }: Pick<Store, "size">, shift: number) => ({ header: size - 2 * shift, start: size - shift })

/** Puts the header of an encryption in front of the data, whose last 2 * `shift` bytes are lost. */
export async function displace(data: Store, { header, areas }: MadeVolume, shift: number): Promise<void> {
  const image = new MemoryStore(new Uint8Array(shift))
  await HeaderStore.format(image, header, areas)
  const place = staged(data, shift)
  await copyBytes(data, 0, place.start, shift)
  await data.flush()
  await write(data, place.header, image.bytes)
  await replaceHead(data, image.bytes, header.headerSize)
}

/** A header as `displace` stages it, with the size of its copies; `null`: none is there. */
async function findStaged(
  data: Store,
  shift: number,
): Promise<{ readonly image: Uint8Array; readonly headerSize: number } | null> {
  const { header, start } = staged(data, shift)
  const image = await readBytes(data, header, shift)
  try {
    const store = await HeaderStore.open(new MemoryStore(image))
    const pending = reencryptionOf(store.header.metadata)
    const { moved, mode } = pending ?? { moved: null, mode: "" }
    const ours = mode === "encrypt" && moved?.offset === BigInt(start) && moved.size === BigInt(shift)
    return ours && store.stale.length === 0 ? { image, headerSize: store.header.headerSize } : null
  } catch {
    // Whatever the unused end of a device holds.
    return null
  }
}

/**
 * Ends what a cut left of `displace`: the device's start is in part its plaintext and in part the header, sector by
 * sector. Returns whether there was such a thing. Where all of it is plaintext still, nothing has begun.
 */
export async function mendDisplaced(data: Store, shift: number): Promise<boolean> {
  if (data.size <= 3 * shift) return false
  const found = await findStaged(data, shift)
  if (found === null) return false
  const { image, headerSize } = found
  let replaced = false
  for (let at = 0; at < shift; at += PIECE) {
    const size = Math.min(PIECE, shift - at)
    const now = await readBytes(data, at, size)
    const plain = await readBytes(data, staged(data, shift).start + at, size)
    for (let n = 0; n < size; n += SECTOR) {
      const sector = now.subarray(n, n + SECTOR)
      if (Buffer.compare(sector, plain.subarray(n, n + SECTOR)) === 0) continue
      if (Buffer.compare(sector, image.subarray(at + n, at + n + SECTOR)) !== 0) return false
      replaced = true
    }
  }
  if (!replaced) return false
  await replaceHead(data, image, headerSize)
  return true
}
