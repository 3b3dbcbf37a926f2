/** Keyslot numbers, areas and gaps (LUKS2 On-Disk Format Specification 1.1, sections 2.2 and 3.2). Pure. */
import { Exit, TresorError } from "../base/errors.ts"
import { KEYSLOTS, STRIPES } from "./limits.ts"
import type { LuksHeader, Metadata } from "./metadata.ts"

/** cryptsetup aligns key material to pages, so that areas can be written with O_DIRECT. */
const AREA_ALIGNMENT = 4096n

/** Bytes an area takes for a volume key of `keySize` bytes. */
export function areaSize(keySize: number): bigint {
  const material = BigInt(keySize) * BigInt(STRIPES)
  return ((material + AREA_ALIGNMENT - 1n) / AREA_ALIGNMENT) * AREA_ALIGNMENT
}

/** First and last byte (exclusive) of the keyslots area. */
export function keyslotsArea(header: LuksHeader): { readonly offset: bigint; readonly end: bigint } {
  const offset = 2n * BigInt(header.headerSize)
  return { offset, end: offset + header.metadata.config.keyslotsSize }
}

/**
 * The first gap of `size` bytes between the areas in use, foreign ones too.
 * Throws LUKS2_AREA_FULL (exit 4).
 */
export function findGap(header: LuksHeader, size: bigint): bigint {
  const { offset, end } = keyslotsArea(header)
  const areas = [...header.metadata.keyslots.values()]
    .flatMap(({ area }) => (area === null ? [] : [area]))
    .sort((a, b) => (a.offset < b.offset ? -1 : 1))
  let start = offset
  for (const area of areas) {
    if (area.offset - start >= size) return start
    const after = area.offset + area.size
    if (after > start) start = ((after + AREA_ALIGNMENT - 1n) / AREA_ALIGNMENT) * AREA_ALIGNMENT
  }
  if (end - start >= size) return start
  throw new TresorError(
    "LUKS2_AREA_FULL",
    Exit.wrongDevice,
    `Cannot add a keyslot: its keyslots area has no ${size} bytes left in one piece; remove a keyslot first`,
  )
}

/**
 * The keyslot number for a new passphrase: `wanted`, or the first free one.
 * Throws KEYSLOT_TAKEN (exit 1) or KEYSLOTS_FULL (exit 1).
 */
export function freeSlot(metadata: Metadata, wanted: number | null): number {
  if (wanted !== null) {
    if (!metadata.keyslots.has(wanted)) return wanted
    throw new TresorError(
      "KEYSLOT_TAKEN",
      Exit.badArguments,
      `Keyslot ${wanted} is in use; choose another one or remove it first`,
    )
  }
  for (let slot = 0; slot < KEYSLOTS; slot++) if (!metadata.keyslots.has(slot)) return slot
  throw new TresorError("KEYSLOTS_FULL", Exit.badArguments, `All ${KEYSLOTS} keyslots are in use; remove one first`)
}
