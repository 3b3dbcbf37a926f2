import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { BusyWait, LONGEST } from "./busy-wait.ts"

/** Microseconds waited busily for a client that asks again after each of these. */
function waited(wait: BusyWait, gaps: readonly number[]): number[] {
  let now = 0
  return gaps.map((gap) => {
    const busy = Math.min(wait.window, gap)
    wait.begin(now)
    now += gap
    if (busy < gap) wait.end(now)
    return busy
  })
}

test("a quick client is met by its fifth request, and from then on", () => {
  for (const gap of [1, 12, 35, LONGEST - 1]) {
    const busy = waited(new BusyWait(), new Array(20).fill(gap))
    assert.ok(busy.slice(4).every((time) => time === gap))
  }
})

test("nobody is waited for who takes longer", () => {
  const wait = new BusyWait()
  assert.deepEqual(waited(wait, [1000, LONGEST, 51, 1e6]), [0, 0, 0, 0])
  waited(wait, new Array(20).fill(20))
  const busy = waited(wait, new Array(20).fill(100))
  assert.ok(busy.reduce((sum, time) => sum + time) < 2 * LONGEST)
  assert.equal(busy.at(-1), 0)
})

test("whatever a client does, no wait is longer than the longest", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(200)), (gaps) => {
      assert.ok(waited(new BusyWait(), gaps).every((time) => time <= LONGEST))
    }),
  )
})
