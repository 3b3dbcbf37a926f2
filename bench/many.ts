/**
 * node_modules/.bin/node bench/many.ts [--volumes N] [--json]
 *
 * What many open volumes cost on one machine: time and CPU of each open with a KDF that costs nothing, memory of each
 * tresord, and what all of them burn while idle.
 */
import { mkdtempSync, readFileSync } from "node:fs"
import { copyFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { createVolume, openTresor, removeFolder, writeKey } from "./contenders.ts"
import { cpuSeconds } from "./process-cpu.ts"
import { summarize } from "./statistics.ts"

const IDLE_SECONDS = 10
/** V8 compiles and collects for some seconds after a start. */
const SETTLE_SECONDS = 20

/** Proportional: pages that several processes share count once. Bytes. */
function memoryOf(pid: number) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1")
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)![1]) * 1024
  return { proportional: of("Pss"), own: of("Private_Clean") + of("Private_Dirty"), resident: of("Rss") }
}

/** CPU of the children that have ended, and so of `tresor open`. Seconds. */
const childrenCpu = () => {
  const stat = readFileSync("/proc/self/stat", "latin1")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[13]) + Number(fields[14])) / 100
}

const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, volumes: { type: "string", default: "20" } },
})
const count = Number(values.volumes)
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
const open: Awaited<ReturnType<typeof openTresor>>[] = []
try {
  writeKey(folder)
  const first = join(folder, "0.img")
  await createVolume(folder, first, 64 << 20)
  const times: number[] = []
  const cpu: number[] = []
  for (let index = 0; index < count; index++) {
    const path = join(folder, `${index}.img`)
    if (index > 0) await copyFile(first, path)
    const [before, started] = [childrenCpu(), performance.now()]
    const each = await openTresor(folder, path, `many-${index}`)
    times.push(performance.now() - started)
    open.push(each)
    cpu.push(childrenCpu() - before + cpuSeconds(each.pid))
  }
  await sleep(SETTLE_SECONDS * 1000)
  const memory = open.map(({ pid }) => memoryOf(pid))
  const burnt = () => open.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0)
  const before = burnt()
  await sleep(IDLE_SECONDS * 1000)
  const mib = (key: keyof (typeof memory)[number]) => summarize(memory.map((each) => each[key] / 2 ** 20)).median
  const found = {
    volumes: count,
    openMs: summarize(times).median,
    lastOpenMs: times.at(-1)!,
    openCpuSeconds: summarize(cpu).median,
    proportionalMib: mib("proportional"),
    ownMib: mib("own"),
    residentMib: mib("resident"),
    idleCpuPercent: ((burnt() - before) / IDLE_SECONDS) * 100,
  }
  const { openMs, lastOpenMs, openCpuSeconds, proportionalMib, ownMib, residentMib, idleCpuPercent } = found
  process.stdout.write(
    values.json
      ? `${JSON.stringify(found)}\n`
      : `${count} volumes: open to ready ${openMs.toFixed(0)} ms (the last one ${lastOpenMs.toFixed(0)}), ` +
          `${openCpuSeconds.toFixed(2)} s of CPU each; memory of each ${proportionalMib.toFixed(1)} MiB proportional, ` +
          `${ownMib.toFixed(1)} its own, ${residentMib.toFixed(1)} resident; all of them idle: ${idleCpuPercent.toFixed(2)} % of a CPU\n`,
  )
} finally {
  for (const { stop } of open) await stop()
  removeFolder(folder)
}
