/** How far a reencryption is, as its header says to others. */
import { open } from "node:fs/promises"
import { HeaderStore } from "../../src/header/header-store.ts"
import type { Metadata } from "../../src/luks2/metadata.ts"
import { reencryptionOf } from "../../src/luks2/reencryption.ts"
import { converted, type Position, positionOf } from "../../src/luks2/reencryption-position.ts"
import { MemoryStore } from "../../src/store/memory-store.ts"

/** By the copy that is whole. */
export async function metadataOf(path: string): Promise<Metadata> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(1 << 20), 0, 1 << 20, 0)
    return (await HeaderStore.open(new MemoryStore(buffer.subarray(0, bytesRead)))).header.metadata
  } finally {
    await file.close()
  }
}

/**
 * Where it is, and the bytes that are converted; `null`: nothing is pending, or it was read in the middle of a write.
 * `size`: bytes of the volume.
 */
export async function whereIn(path: string, size: number): Promise<(Position & { readonly bytes: number }) | null> {
  try {
    const metadata = await metadataOf(path)
    const pending = reencryptionOf(metadata)
    const found = pending === null ? null : positionOf(metadata, pending, BigInt(size))
    if (pending === null || found === null || typeof found === "string") return null
    return { ...found, bytes: Number(converted(pending, found, BigInt(size))) }
  } catch {
    return null
  }
}

/** Whether so many bytes are converted and a zone is under way. Zones may end before they are seen: 1 MiB later it is enough to be anywhere. */
export async function isInZone(path: string, size: number, bytes: number): Promise<boolean> {
  const found = await whereIn(path, size)
  return found !== null && found.bytes >= bytes && (found.hot > 0n || found.bytes > bytes + (1 << 20))
}
