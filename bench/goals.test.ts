import assert from "node:assert/strict"
import { test } from "node:test"
import { CACHED_GOALS, DISK_GOALS, type Measured, type Medians, VHOST_GOALS, judge as verdictsOf } from "./goals.ts"
import { advantage, DISK_POINTS, POINTS, VHOST_POINTS } from "./points.ts"

const CACHED_NAMES = ["tresor", "tresor, transitions", "nbdkit file", "nbdkit luks", "qemu-nbd luks"]
const DISK_NAMES = ["tresor", "tresor, cached", "nbdkit file", "nbdkit luks", "qemu-nbd luks", "fio, raw file"]
type Figures = Readonly<Record<string, number>>

/** `speeds`: 1 is as fast as the others, at latencies too. */
function medians(speeds: Figures, cpu: Figures, names = CACHED_NAMES, at = POINTS): Medians {
  return new Map(
    names.map((name) => {
      const speed = speeds[name] ?? 1
      const value = (unit: string) => (unit === "us" ? 100 / speed : 100 * speed)
      const points = at.map((point): [string, Measured] => [
        point.name,
        { value: value(point.unit), cpuPerGb: cpu[name] ?? 1 },
      ])
      return [name, new Map(points)]
    }),
  )
}

const judge = (of: Medians) => verdictsOf(CACHED_GOALS, POINTS, of)
const judgeDisk = (speeds: Figures, cpu: Figures = {}) =>
  verdictsOf(DISK_GOALS, DISK_POINTS, medians(speeds, cpu, DISK_NAMES, DISK_POINTS))

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

test("on the disk, depth is held against the lower of the raw file and our own cached figure", () => {
  const share = (speeds: Figures) =>
    judgeDisk(speeds).filter(({ goal }) => goal.startsWith("speed, share of the lower of"))
  const deep = DISK_POINTS.filter((point) => point.depth > 1)
  for (const lower of ["fio, raw file", "tresor, cached"]) {
    for (const [found, reached] of [
      [0.86, true],
      [0.84, false],
    ] as const) {
      const verdicts = share({ "fio, raw file": 5, "tresor, cached": 5, [lower]: 1, tresor: found })
      assert.deepEqual(
        verdicts.map((verdict) => [verdict.point, verdict.reached]),
        deep.map(({ name }) => [name, reached]),
      )
    }
  }
})

test("on the disk, three times a LUKS server is asked for only where the raw file is as fast", () => {
  const luks = (speeds: Figures) => judgeDisk(speeds).filter(({ goal }) => goal === "speed against nbdkit luks")
  assert.deepEqual(luks({ "fio, raw file": 2.9, tresor: 1 }), [])
  const asked = luks({ "fio, raw file": 3, tresor: 2.9 })
  assert.equal(asked.length, DISK_POINTS.length)
  assert.ok(asked.every(({ reached }) => !reached))
  assert.ok(luks({ "fio, raw file": 3, tresor: 3 }).every(({ reached }) => reached))
})

test("on the disk, our server may use 1.3 times the CPU of one that does not encrypt", () => {
  const cpu = (ours: number) =>
    judgeDisk({}, { tresor: ours }).filter(({ goal }) => goal.startsWith("server CPU per GB"))
  assert.ok(cpu(1.3).every(({ reached }) => reached))
  assert.ok(cpu(1.31).every(({ reached }) => !reached))
  assert.equal(cpu(1).length, DISK_POINTS.length)
})

test("a virtual machine's disk is held against qemu's raw export, less so at 4k, and three times its LUKS", () => {
  const names = ["tresor", "qemu raw", "qemu luks"]
  const missed = (speeds: Figures) =>
    verdictsOf(VHOST_GOALS, VHOST_POINTS, medians(speeds, {}, names, VHOST_POINTS))
      .filter(({ reached }) => !reached)
      .map(({ goal, point }) => `${goal}, ${point}`)
  assert.deepEqual(missed({ tresor: 1, "qemu luks": 0.3 }), [])
  const large = VHOST_POINTS.filter(({ blockKib }) => blockKib >= 128).length
  assert.equal(missed({ tresor: 0.8, "qemu luks": 0.2 }).length, large)
  assert.equal(missed({ tresor: 0.79, "qemu luks": 0.2 }).length, VHOST_POINTS.length)
  assert.equal(missed({ tresor: 1, "qemu luks": 0.34 }).length, VHOST_POINTS.length)
})
