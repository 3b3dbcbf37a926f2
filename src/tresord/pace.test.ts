import assert from "node:assert/strict"
import { test } from "node:test"
import { paceOf } from "./pace.ts"

/** What it would wait, in place of waiting. */
function paced(throttle: number) {
  const clock = { now: 0, requests: 0, waits: [] as number[] }
  const wait = async (ms: number) => {
    clock.waits.push(ms)
    clock.now += ms
  }
  const pace = paceOf({ throttle, requests: () => clock.requests, now: () => clock.now, wait })
  return { clock, pace }
}

test("without requests and limit nothing is waited for", async () => {
  const { clock, pace } = paced(0)
  for (let position = 0; position < 5; position++) {
    await pace(position)
    clock.now += 100
  }
  assert.deepEqual(clock.waits, [])
})

test("after a zone in which users had requests it waits five times as long as the zone took, and 5 s at most", async () => {
  const { clock, pace } = paced(0)
  await pace(0)
  clock.now += 100
  clock.requests = 3
  await pace(1)
  assert.deepEqual(clock.waits, [500])
  // Those that came while it waited are no reason to wait again.
  clock.now += 100
  await pace(2)
  assert.deepEqual(clock.waits, [500])
  clock.now += 3000
  clock.requests = 4
  await pace(3)
  assert.deepEqual(clock.waits, [500, 5000])
})

test("a limit holds over all zones, whatever users ask for", async () => {
  const { clock, pace } = paced(1000)
  await pace(0)
  clock.now += 100
  await pace(500)
  assert.deepEqual(clock.waits, [400])
  clock.now += 2000
  await pace(1000)
  assert.deepEqual(clock.waits, [400], "it was slower than that anyway")
  clock.requests = 1
  clock.now += 10
  await pace(4000)
  assert.deepEqual(clock.waits, [400, 1490])
})
