/** A store that was cut off, before its data, in them, or not at all. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { segmentSize } from "./segment.ts"

const MIB = 1 << 20
const place = { offset: 16 * MIB, size: null, sectorSize: 4096 }

test("data reach to their end, or to the last whole sector of the store", () => {
  assert.equal(segmentSize(17 * MIB + 4095, place), MIB)
  assert.equal(segmentSize(16 * MIB + 4096, place), 4096)
  assert.equal(segmentSize(20 * MIB, { ...place, size: MIB }), MIB)
  assert.equal(segmentSize(17 * MIB, { ...place, size: MIB }), MIB)
})

test("a store that ends before its data, or in them, is named with both ends", () => {
  const begins = /^its data would begin at byte 16777216, and it ends at \d+; it may be truncated$/
  const ends = /^its data would end at byte 17825792, and it ends at 17825280; it may be truncated$/
  for (const size of [0, MIB, 16 * MIB, 16 * MIB + 4095]) {
    for (const each of [place, { ...place, size: MIB }]) {
      assert.throws(() => segmentSize(size, each), { code: "EINVAL", message: begins })
    }
  }
  assert.throws(() => segmentSize(17 * MIB - 512, { ...place, size: MIB }), { code: "EINVAL", message: ends })
})

test("data that are no whole sectors are refused", () => {
  const whole = /are not whole sectors of 4096$/
  for (const wrong of [{ size: 0 }, { size: -4096 }, { size: 4095 }, { offset: 16 * MIB + 1 }]) {
    assert.throws(() => segmentSize(20 * MIB, { ...place, size: MIB, ...wrong }), { code: "EINVAL", message: whole })
  }
})
