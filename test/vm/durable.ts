/** Records of durable.c on a device that a host has the bytes of: which of them are there. */
import assert from "node:assert/strict"

export const BLOCK = 4096
const STRIDE = 1667
const WORDS = BLOCK / 8

/** The block that durable.c writes as record `number`. */
function recordOf(number: number): Buffer {
  const words = new BigUint64Array(WORDS)
  let state = BigInt.asUintN(64, BigInt(number + 1) * 0x9e3779b97f4a7c15n)
  words[0] = BigInt(number)
  for (let word = 1; word < WORDS; word++) {
    state = BigInt.asUintN(64, state ^ (state << 13n))
    state ^= state >> 7n
    state = BigInt.asUintN(64, state ^ (state << 17n))
    words[word] = state
  }
  return Buffer.from(words.buffer)
}

/**
 * Each block is as `before`, or a record that was written there after it ("scattered"): of those up to `acknowledged` none is
 * missing, and of fewer later ones than there are blocks each may be there in part.
 */
export function checkScattered(found: Buffer, before: Buffer, acknowledged: number): void {
  assert.equal(found.length, before.length)
  const slots = found.length / BLOCK
  const least = new Map<number, number>()
  for (let number = 0; number <= acknowledged; number++) least.set((number * STRIDE) % slots, number)
  for (let slot = 0; slot < slots; slot++) {
    const [now, was] = [found, before].map((bytes) => bytes.subarray(slot * BLOCK, (slot + 1) * BLOCK))
    const due = least.get(slot)
    if (due !== undefined && now!.equals(recordOf(due))) continue
    if (due === undefined && now!.equals(was!)) continue
    checkLater(now!, due === undefined ? was! : recordOf(due), { slot, slots, acknowledged })
  }
}

/** A later record, whole or in some of its sectors. */
function checkLater(
  now: Buffer,
  was: Buffer,
  { slot, slots, acknowledged }: { readonly slot: number; readonly slots: number; readonly acknowledged: number },
): void {
  let number = 0
  while ((number * STRIDE) % slots !== slot) number++
  while (number <= acknowledged) number += slots
  const later = recordOf(number)
  for (let at = 0; at < BLOCK; at += 512) {
    const sector = (of: Buffer) => of.subarray(at, at + 512)
    const either = [later, was].some((each) => sector(each).equals(sector(now)))
    assert.ok(either, `block ${slot} is neither as before nor record ${number}; ${acknowledged} was acknowledged`)
  }
}
