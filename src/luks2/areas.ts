/** Keyslot numbers, areas and gaps (LUKS2 On-Disk Format Specification 1.1, sections 2.2 and 3.2). Pure. */
import { Exit, TresorError } from "../base/errors.ts"
import { KEYSLOTS, STRIPES } from "./limits.ts"
import type { LuksHeader, Metadata } from "./metadata.ts"

/** cryptsetup aligns key material to pages, so that areas can be written with O_DIRECT. */
export const AREA_ALIGNMENT = 4096n

/** Bytes an area takes for a volume key of `keySize` bytes. */
export function areaSize(keySize: number): bigint {
  return roundUp(BigInt(keySize) * BigInt(STRIPES))
}

/** First and last byte (exclusive) of the keyslots area. */
export function keyslotsArea(header: LuksHeader): { readonly offset: bigint; readonly end: bigint } {
  const offset = 2n * BigInt(header.headerSize)
  return { offset, end: offset + header.metadata.config.keyslotsSize }
}

const roundUp = (bytes: bigint): bigint => ((bytes + AREA_ALIGNMENT - 1n) / AREA_ALIGNMENT) * AREA_ALIGNMENT

/** Bytes between the areas in use, foreign ones too, ascending; each begins aligned. */
export function* gaps(header: LuksHeader): Generator<{ readonly offset: bigint; readonly size: bigint }> {
  const { offset: start, end } = keyslotsArea(header)
  const areas = [...header.metadata.keyslots.values()]
    .map(({ area }) => area)
    .sort((a, b) => (a.offset < b.offset ? -1 : 1))
  let offset = start
  for (const area of [...areas, { offset: end, size: 0n }]) {
    if (area.offset > offset) yield { offset, size: area.offset - offset }
    const after = roundUp(area.offset + area.size)
    if (after > offset) offset = after
  }
}

/** The first gap of `size` bytes. Throws LUKS2_AREA_FULL (exit 4). */
export function findGap(header: LuksHeader, size: bigint): bigint {
  for (const gap of gaps(header)) if (gap.size >= size) return gap.offset
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
