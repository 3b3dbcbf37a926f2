/**
 * node_modules/.bin/node bench/open.ts [--json]
 *
 * What an open volume costs: from `tresor open` to ready with a KDF that costs
 * nothing, memory while serving, CPU while idle; for 1 GiB and, sparse, 8 TiB.
 */

import { mkdtempSync } from "node:fs"
import { truncate } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { createVolume, openTresor, removeFolder, writeKey } from "./contenders.ts"
import { runFio } from "./fio.ts"
import { POINTS } from "./points.ts"
import { cpuSeconds, residentBytes } from "./process-cpu.ts"
import { summarize } from "./statistics.ts"

const ROUNDS = 5
const IDLE_SECONDS = 20
const SIZES = [
  ["1 GiB", 2 ** 30],
  ["8 TiB", 2 ** 43],
] as const

interface Cost {
  readonly volume: string
  readonly openMs: number
  /** After random reads and writes of 4 KiB and 1 MiB. */
  readonly rssMb: number
  /** Of one core. */
  readonly idleCpuPercent: number
}

async function costOf(folder: string, name: string, size: number, idleSeconds: number): Promise<Cost> {
  const path = join(folder, `${size}.img`)
  await createVolume(folder, path, 64 << 20)
  await truncate(path, size)
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now()
    const { stop } = await openTresor(folder, path, "cost")
    times.push(performance.now() - started)
    await stop()
  }
  const { socket, pid, stop } = await openTresor(folder, path, "cost")
  try {
    let resident = 0
    for (const point of POINTS) {
      const load = runFio({ socket }, point, { size: 256 << 20, milliseconds: 1000 })
      await sleep(700)
      resident = Math.max(resident, residentBytes(pid))
      await load
    }
    await sleep(1000)
    const before = cpuSeconds(pid)
    await sleep(idleSeconds * 1000)
    const idle = (cpuSeconds(pid) - before) / idleSeconds
    return { volume: name, openMs: summarize(times).median, rssMb: resident / 1e6, idleCpuPercent: idle * 100 }
  } finally {
    await stop()
  }
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, idle: { type: "string" } } })
const idleSeconds = Number(values.idle ?? IDLE_SECONDS)
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
try {
  writeKey(folder)
  const costs: Cost[] = []
  for (const [name, size] of SIZES) costs.push(await costOf(folder, name, size, idleSeconds))
  if (values.json) {
    process.stdout.write(`${JSON.stringify(costs, null, 2)}\n`)
  } else {
    for (const { volume, openMs, rssMb, idleCpuPercent } of costs) {
      const mark = (reached: boolean) => (reached ? "reached" : "not reached")
      process.stdout.write(
        `${volume}: open to ready ${openMs.toFixed(0)} ms (goal <= 150, ${mark(openMs <= 150)}); ` +
          `RSS while serving ${rssMb.toFixed(0)} MB (goal <= 80, ${mark(rssMb <= 80)}); ` +
          `idle CPU ${idleCpuPercent.toFixed(2)} % (goal 0, ${mark(idleCpuPercent < 0.1)})\n`,
      )
    }
  }
} finally {
  removeFolder(folder)
}
