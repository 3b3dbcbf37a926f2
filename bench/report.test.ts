import assert from "node:assert/strict"
import { test } from "node:test"
import { POINTS } from "./points.ts"
import { ceilingTable, type Report, type Row } from "./report.ts"
import type { Summary } from "./statistics.ts"

const only = (median: number): Summary => ({ median, spread: 0, samples: [median] })

function report(figures: readonly (readonly [contender: string, point: string, value: number, cpu: number])[]): Report {
  const points = POINTS.filter(({ name }) => figures.some(([, point]) => point === name))
  const rows = figures.map(
    ([contender, point, value, cpu]): Row => ({
      ...{ contender, point, unit: POINTS.find(({ name }) => name === point)!.unit },
      ...{ value: only(value), cpuPerGb: only(cpu), clientCpuPerGb: only(0.3), p99: only(0) },
    }),
  )
  const machine = { cpu: "", cores: 2, kernel: "", date: "", memoryMib: 0, freeMib: 0, versions: {} }
  return {
    title: "",
    condition: "",
    points,
    machine,
    rounds: 1,
    secondsPerRun: 1,
    mibPerContender: 1,
    rows,
    verdicts: [],
  }
}

test("the CPUs' ceiling is given where the peer is faster, in the peer's unit", () => {
  const table = ceilingTable(
    report([
      ["tresor", "1m write qd8", 2000, 0.5],
      ["nbdkit file", "1m write qd8", 3125, 0.25],
      ["tresor", "4k randwrite qd16", 80, 2.7],
      ["nbdkit file", "4k randwrite qd16", 100, 2.7],
      ["tresor", "1m read qd8", 3000, 0.3],
      ["nbdkit file", "1m read qd8", 2900, 0.3],
      ["tresor", "4k randread qd1", 40, 9],
      ["nbdkit file", "4k randread qd1", 30, 9],
    ]),
    "tresor",
    "nbdkit file",
  )
  assert.deepEqual(table.slice(1), [
    // 100 kIOPS of 4096 bytes are 409.6 MB/s; two CPUs at 3 s/GB carry 667.
    ["4k randwrite qd16", "3.00", "667", "410", "1.63"],
    // At 0.8 s/GB they carry 2500.
    ["1m write qd8", "0.80", "2500", "3125", "0.80"],
  ])
})
