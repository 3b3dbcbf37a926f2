import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import fc from "fast-check"
import { Budget } from "./budget.ts"

test("never more is held than there is, and everybody is served in turn", () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ bytes: fc.nat(100), leaves: fc.boolean(), holds: fc.nat(3) }), { maxLength: 40 }),
      async (clients) => {
        const budget = new Budget(100)
        let held = 0
        const served: number[] = []
        await Promise.all(
          clients.map(async ({ bytes, leaves, holds }, index) => {
            const leaving = new AbortController()
            const taken = budget.take(bytes, leaving.signal)
            if (leaves) leaving.abort()
            if (!(await taken)) return
            served.push(index)
            held += bytes
            assert.ok(held <= 100)
            for (let turn = 0; turn < holds; turn++) await new Promise((resolve) => setImmediate(resolve))
            held -= bytes
            budget.give(bytes)
          }),
        )
        assert.deepEqual(
          served,
          served.toSorted((a, b) => a - b),
        )
        for (const [index, { leaves }] of clients.entries()) assert.ok(leaves || served.includes(index))
        assert.equal(budget.free, 100)
      },
    ),
  ))

test("who waits too long is heard, again and again, until it is served", async () => {
  let cries = 0
  const budget = new Budget(10, { patienceMs: 10, spare() {}, relieve: () => void cries++ })
  await budget.take(10)
  const waiting = Promise.resolve(budget.take(1))
  while (cries < 2) await sleep(1)
  budget.give(10)
  assert.equal(await waiting, true)
  cries = 0
  await sleep(30)
  assert.equal(cries, 0)
})
