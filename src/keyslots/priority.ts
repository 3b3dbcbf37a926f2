/** When a keyslot is tried. Pure. */
import type { LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import { inactive, isLuksKeyslot } from "./metadata-edit.ts"

/** 2: before the others; 0: only when named; `null`: as a header has it that says nothing. Throws KEYSLOT_INACTIVE (exit 1). */
export function setPriority(metadata: Metadata, slot: number, priority: LuksKeyslot["priority"]): Metadata {
  const keyslot = metadata.keyslots.get(slot)
  if (keyslot === undefined || !isLuksKeyslot(keyslot)) throw inactive(slot)
  return { ...metadata, keyslots: new Map([...metadata.keyslots, [slot, { ...keyslot, priority }]]) }
}
