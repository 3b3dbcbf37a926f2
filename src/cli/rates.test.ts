import assert from "node:assert/strict"
import { test } from "node:test"
import type { VolumeStatus } from "../control/volume.ts"
import type { OpenVolume } from "./open-volumes.ts"
import { ratesOf } from "./rates.ts"

const look = (counters: Record<string, number>, more: Partial<VolumeStatus> = {}): OpenVolume => ({
  name: "work",
  owner: 0,
  path: "disk.img",
  state: "unlocked",
  volume: { pid: 7, since: "then", state: "unlocked", counters, ...more } as VolumeStatus,
})

test("rates are the difference of two looks over the time between", () => {
  const [rates] = ratesOf(
    [look({ reads: 10, bytesRead: 4096 })],
    [look({ reads: 20, bytesRead: 12288, pending: 2, errors: 3 })],
    2,
  )
  assert.deepEqual(rates, {
    ...{ name: "work", user: 0, state: "unlocked", reads: 5, bytesRead: 4096 },
    ...{ writes: null, bytesWritten: null, pending: 2, errors: 3 },
  })
})

test("a volume that was opened meanwhile, or again, has no rates; a dead one neither", () => {
  const after = look({ reads: 20 })
  assert.equal(ratesOf([], [after], 1)[0]!.reads, null)
  assert.equal(ratesOf([look({ reads: 30 }, { pid: 8 })], [after], 1)[0]!.reads, null)
  assert.equal(ratesOf([look({ reads: 30 }, { since: "before" })], [after], 1)[0]!.reads, null)
  const [dead] = ratesOf([after], [{ ...after, state: "dead", volume: null }], 1)
  assert.deepEqual([dead!.state, dead!.reads], ["dead", null])
})
