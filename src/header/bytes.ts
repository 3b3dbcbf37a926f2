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
