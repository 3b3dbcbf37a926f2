/** Reading of a store what a header says is there. Pure. */
import { Exit, TresorError } from "../base/errors.ts"
import type { Store } from "../store/store.ts"

function truncated(path: string, size: number): TresorError {
  return new TresorError(
    "LUKS2_TRUNCATED",
    Exit.wrongDevice,
    `Cannot read the header of ${path}: it ends after ${size} bytes`,
  )
}

/** Exactly `length` bytes; throws LUKS2_TRUNCATED (exit 4) when they are not there, or IoError. */
export async function readBytes(store: Store, offset: number, length: number): Promise<Uint8Array> {
  if (offset + length > store.size) throw truncated(store.path, store.size)
  const bytes = new Uint8Array(length)
  try {
    await store.read(offset, bytes)
  } catch (error) {
    const size = await store.refresh()
    if (offset + length > size) throw truncated(store.path, size)
    throw error
  }
  return bytes
}

/** Most that crypto.getRandomValues gives at once. */
const RANDOM_CHUNK = 65536
/** Bytes of one transfer. */
const TRANSFER = 1 << 20

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += RANDOM_CHUNK) crypto.getRandomValues(bytes.subarray(at, at + RANDOM_CHUNK))
  return bytes
}

/** Random bytes over what nobody is to find again. Not flushed. */
export async function overwrite(
  store: Store,
  { offset, size }: { readonly offset: bigint; readonly size: bigint },
): Promise<void> {
  let written = Promise.resolve()
  for (let at = 0; at < size; at += TRANSFER) {
    // Made while those before are written.
    const bytes = randomBytes(Math.min(TRANSFER, Number(size) - at))
    await written
    written = store.write(Number(offset) + at, bytes)
  }
  await written
}

/** Bytes of a store to another place in it, ascending: the places may overlap where `to` is lower. Not flushed. */
export async function copyBytes(store: Store, from: number, to: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += TRANSFER) {
    await store.write(to + at, await readBytes(store, from + at, Math.min(TRANSFER, length - at)))
  }
}
