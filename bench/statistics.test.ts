import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { median, summarize } from "./statistics.ts"

// Without -0, which is as small as 0 and not the same.
const number = fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((each) => each + 0)

test("median of odd and even counts, unsorted and with more than one digit", () => {
  assert.equal(median([10, 9, 2]), 9)
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.equal(median([7]), 7)
  assert.throws(() => median([]), RangeError)
})

test("median: as many samples above as below, whatever their order", () => {
  fc.assert(
    fc.property(fc.array(number, { minLength: 1 }), (samples) => {
      const middle = median(samples)
      assert.ok(samples.filter((each) => each < middle).length <= samples.length / 2)
      assert.ok(samples.filter((each) => each > middle).length <= samples.length / 2)
      assert.equal(median(samples.toReversed()), middle)
    }),
  )
})

test("spread is relative to the median", () => {
  assert.deepEqual(summarize([90, 100, 120]), { median: 100, spread: 0.3, samples: [90, 100, 120] })
  assert.equal(summarize([0, 0]).spread, 0)
})
