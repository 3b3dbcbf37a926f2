import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { serial } from "./serial.ts"

test("work runs one after another, in order, whatever fails", async () => {
  const queue = serial()
  const seen: string[] = []
  const work = (name: string, ms: number) => async () => {
    seen.push(`${name} begins`)
    await delay(ms)
    seen.push(`${name} ends`)
    if (name === "b") throw new Error("b failed")
    return name
  }
  const all = await Promise.allSettled([queue(work("a", 5)), queue(work("b", 0)), queue(work("c", 0))])
  assert.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"])
  assert.deepEqual(
    all.map((each) => (each.status === "fulfilled" ? each.value : each.reason.message)),
    ["a", "b failed", "c"],
  )
})

test("what throws at once is the caller's, and the next runs", async () => {
  const queue = serial()
  await assert.rejects(
    queue(() => {
      throw new Error("at once")
    }),
    /at once/,
  )
  assert.equal(await queue(async () => 1), 1)
})

test("two queues do not wait for each other", async () => {
  const [one, other] = [serial(), serial()]
  let finish = () => {}
  const waits = one(
    () =>
      new Promise<void>((resolve) => {
        finish = resolve
      }),
  )
  assert.equal(await other(async () => "done"), "done")
  finish()
  await waits
})
