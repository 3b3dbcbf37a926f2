import assert from "node:assert/strict"
import { test } from "node:test"
import type { ContenderName } from "./contenders.ts"
import { judge, type Measured, type Medians } from "./goals.ts"
import { advantage, POINTS } from "./points.ts"

const NAMES: readonly ContenderName[] = ["tresor", "tresor, transitions", "nbdkit file", "nbdkit luks", "qemu-nbd luks"]

/** `speeds`: 1 is as fast as the others, at latencies too. */
function medians(speeds: Partial<Record<ContenderName, number>>, cpu: Partial<Record<ContenderName, number>>): Medians {
  return new Map(
    NAMES.map((name) => {
      const speed = speeds[name] ?? 1
      const value = (unit: string) => (unit === "us" ? 100 / speed : 100 * speed)
      const points = POINTS.map((point): [string, Measured] => [
        point.name,
        { value: value(point.unit), cpuPerGb: cpu[name] ?? 1 },
      ])
      return [name, new Map(points)]
    }),
  )
}

test("a latency is better when it is less", () => {
  const latency = POINTS.find((point) => point.unit === "us")!
  assert.equal(advantage(latency, 50, 100), 2)
  assert.equal(advantage(POINTS[0]!, 50, 100), 0.5)
})

test("every goal is reached by what is fast and frugal, at each point it is set for", () => {
  const verdicts = judge(medians({ tresor: 4, "tresor, transitions": 3.6 }, { tresor: 0.1 }))
  assert.deepEqual(
    verdicts.filter((verdict) => !verdict.reached),
    [],
  )
  assert.equal(verdicts.length, 7 + 4 * 7 + 6 + 4)
})

test("what is as fast as the others is missed against LUKS, and not against the plain file", () => {
  const missed = judge(medians({}, {})).filter((verdict) => !verdict.reached)
  assert.equal(missed.length, 4 * 7)
  assert.ok(missed.every(({ goal }) => goal.includes("luks")))
})

test("the limits differ between small and large blocks", () => {
  const verdicts = judge(medians({ tresor: 3, "tresor, transitions": 2.4 }, {}))
  const reached = (goal: string, point: string) =>
    verdicts.find((each) => each.goal.startsWith(goal) && each.point === point)!.reached
  assert.equal(reached("speed against nbdkit luks", "4k randread qd16"), true)
  assert.equal(reached("speed against nbdkit luks", "128k read qd16"), false)
  assert.equal(reached("speed with modelled", "4k randread qd16"), true)
  assert.equal(reached("speed with modelled", "1m read qd8"), false)
})

test("a contender that was not measured is an error, not a pass", () => {
  const partial = new Map(medians({}, {}))
  partial.delete("nbdkit luks")
  assert.throws(() => judge(partial), /nbdkit luks was not measured/)
})
