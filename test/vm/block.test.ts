/**
 * A block device without a module of ours, on the kernel that has ublk_drv. At the end the power is cut while writes
 * are made durable; what the drives' caches held is lost, and the next boot looks for what was durable.
 */
import assert from "node:assert/strict"
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, describe, test } from "node:test"
import { type Boot, boot, buildPrograms, logs, type Result, testChecks } from "./checks.ts"
import { laterKernel } from "./kernels.ts"
import type { Disk } from "./machine.ts"
import { type Replayed, replayDurable } from "./power-cut.ts"

const DISK_BYTES = 96 << 20
/** Of test/vm/block.sh. */
const WRITERS = 4
/** Records that each has made durable before the power goes. */
const ENOUGH = 60

const first: Boot = { kernel: laterKernel(), parts: ["block", "cut"], seconds: 1700 }
const second: Boot = { kernel: first.kernel, parts: ["recut"], seconds: 300 }
const disks: Disk[] = ["vda", "vdb"].map((name) => ({
  image: join(logs(first), `${name}.img`),
  log: join(logs(first), `${name}.log`),
}))

describe(`a block device on Debian's Linux ${first.kernel.release}`, () => {
  let results: Map<string, Result>
  const durable = new Map<string, number>()
  before(async () => {
    buildPrograms()
    mkdirSync(logs(first), { recursive: true })
    for (const { image, log } of disks) {
      writeFileSync(image, "")
      truncateSync(image, DISK_BYTES)
      writeFileSync(log, "")
    }
    results = await boot({ ...first, disks }, (line, machine) => {
      const [word, name = "", number] = line.split(" ")
      if (word !== "durable") return
      durable.set(name, Number(number))
      if (durable.size === WRITERS && Math.min(...durable.values()) >= ENOUGH) machine.cutPower()
    })
  })
  testChecks(first, () => results)
  test("every writer had made records durable when the power was cut", () => {
    assert.equal(durable.size, WRITERS, [...durable].join(" "))
  })

  describe("after the power was cut", () => {
    let replayed: Replayed[]
    let after: Map<string, Result>
    before(async () => {
      replayed = disks.map(({ image, log }) => replayDurable(log, image, DISK_BYTES))
      const said = [...durable].map(([name, number]) => `${name}:${number}`).join(",")
      after = await boot({ ...second, disks, words: `tresor.durable=${said}` })
      for (const { image, log } of disks) {
        rmSync(image)
        rmSync(log)
      }
    })
    // How many writes were lost is chance: power-cut.test.ts shows that those after the last flush are.
    test("each drive is as of its last flush", () => {
      for (const { kept, flushes } of replayed) assert.ok(kept > 0 && flushes >= ENOUGH, JSON.stringify(replayed))
    })
    testChecks(second, () => after)
  })
})
