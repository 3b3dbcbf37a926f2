/**
 * Our vhost-user-blk export beside qemu-storage-daemon's, of a raw file and of LUKS, and beside our own NBD export:
 * a front-end of ours (bench/vhost) is the virtual machine, with everything in the page cache.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { alternate, type Measurable, type Sample } from "./alternate.ts"
import { type Server, Stage, type StageOptions } from "./contenders.ts"
import { VHOST_GOALS } from "./goals.ts"
import { BESIDE, measureServer } from "./nbd.ts"
import { type Point, VHOST_POINTS } from "./points.ts"
import { cpuSeconds } from "./process-cpu.ts"
import type { Table } from "./table.ts"

const run = promisify(execFile)
const SOURCES = fileURLToPath(new URL("vhost", import.meta.url))
const FRONTEND = fileURLToPath(new URL("../build/vhost/frontend", import.meta.url))

/** What a run of `load` prints. */
interface Load {
  readonly bytes: number
  readonly errors: number
  readonly seconds: number
  readonly iops: number
  readonly meanUs: number
  readonly p99Us: number
  readonly cpuSeconds: number
}

/** One run of the front-end, which is one thread whatever queues it has. */
async function measureVhost(
  { socket, pid }: Server,
  point: Point,
  size: number,
  milliseconds: number,
): Promise<Sample> {
  const before = cpuSeconds(pid)
  const { stdout } = await run(FRONTEND, [
    "--indirect",
    ...(point.rw.startsWith("rand") ? ["--random"] : []),
    ...(point.rw.endsWith("write") ? ["--write"] : []),
    `--size=${point.blockKib << 10}`,
    `--depth=${point.depth}`,
    `--queues=${point.queues ?? 1}`,
    `--area=${size}`,
    `--seconds=${milliseconds / 1000}`,
    `--seed=${process.hrtime.bigint() & 0xffff_ffffn}`,
    socket,
    "load",
  ])
  const load = JSON.parse(stdout) as Load
  if (load.errors > 0) throw new Error(`${load.errors} requests failed at ${point.name}`)
  const gigabytes = load.bytes / 1e9
  const value = { kIOPS: load.iops / 1e3, "MB/s": load.bytes / 1e6 / load.seconds, us: load.meanUs }
  return {
    value: value[point.unit],
    cpuPerGb: (cpuSeconds(pid) - before) / gigabytes,
    clientCpuPerGb: load.cpuSeconds / gigabytes,
    p99: load.p99Us,
  }
}

export const VHOST: Table = {
  name: "vhost",
  title: "vhost-user-blk, everything in the page cache: encrypted by Tresor, beside qemu-storage-daemon",
  condition: "cached",
  points: VHOST_POINTS,
  goals: VHOST_GOALS,
  rounds: 7,
  measure: async (options: StageOptions, { milliseconds, rounds, beside, stopping }) => {
    const { size, progress } = options
    await run("make", ["-s", "-C", SOURCES])
    const stage = new Stage(options)
    stopping(() => stage.stop())
    try {
      const servers: [string, Server][] = [
        ["tresor", await stage.oursVhost("guest")],
        ["qemu raw", await stage.qemuVhostRaw()],
        ["qemu luks", await stage.qemuVhostLuks()],
      ]
      if (beside !== null) servers.push([BESIDE, await stage.oursVhost("beside", beside)])
      const nbd = await stage.ours("nbd", { locked: true })
      const subjects: Measurable[] = [
        ...servers.map(([name, server]) => ({
          name,
          measure: (point: Point) => measureVhost(server, point, size, milliseconds),
        })),
        { name: "tresor, NBD", measure: (point) => measureServer(nbd, point, { size, milliseconds }) },
      ]
      return await alternate(subjects, VHOST_POINTS, rounds, progress)
    } finally {
      await stage.stop()
    }
  },
}
