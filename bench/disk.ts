/**
 * The same export and its peers on the disk: nothing is in the page cache when a run begins, and no block is read
 * twice in it.
 */
import { alternate, type Measurable } from "./alternate.ts"
import { dropCaches, requireDisk } from "./caches.ts"
import { type Server, Stage, type StageOptions } from "./contenders.ts"
import { runFio } from "./fio.ts"
import { DISK_GOALS } from "./goals.ts"
import { BESIDE, measureServer } from "./nbd.ts"
import { DISK_POINTS, type Point } from "./points.ts"
import type { Table } from "./table.ts"

/** Which of a contender's servers a point is for: what is opened with --direct is another one. */
type Servers = (point: Point) => Server

const always =
  (server: Server): Servers =>
  () =>
    server

async function ours(stage: Stage, name: string, checkout?: string): Promise<Servers> {
  const at = checkout === undefined ? {} : { checkout }
  const cached = await stage.ours(name, { locked: false, ...at })
  const direct = await stage.ours(`${name}-direct`, { locked: false, options: ["--direct"], ...at })
  return (point) => (point.direct === true ? direct : cached)
}

export const DISK: Table = {
  name: "disk",
  title: "NBD servers on the disk: encrypted by Tresor, beside its peers",
  condition: "caches dropped before each run",
  points: DISK_POINTS,
  goals: DISK_GOALS,
  rounds: 5,
  measure: async (options: StageOptions, { milliseconds, rounds, beside, stopping }) => {
    const { folder, size, progress } = options
    requireDisk(folder)
    dropCaches()
    const run = { size, milliseconds, once: true }
    const stage = new Stage(options)
    stopping(() => stage.stop())
    try {
      const file = await stage.nbdkitFile(false)
      const servers: [string, Servers][] = [
        ["tresor", await ours(stage, "plain")],
        // Locked in memory: what the server does where there is no disk to wait for.
        ["tresor, cached", always(await stage.ours("cached", { locked: true }))],
        ["nbdkit file", always(file)],
        ["nbdkit luks", always(await stage.nbdkitLuks(false))],
        ["qemu-nbd luks", always(await stage.qemuLuks(false))],
      ]
      if (beside !== null) servers.push([BESIDE, await ours(stage, "beside", beside)])
      const subjects: Measurable[] = servers.map(([name, of]) => ({
        name,
        measure: (point) => {
          dropCaches()
          return measureServer(of(point), point, run)
        },
      }))
      subjects.push({
        name: "fio, raw file",
        measure: async (point) => {
          dropCaches()
          const { value, bytes, clientCpu, p99 } = await runFio({ file: file.image }, point, run)
          // It is server and client in one.
          const cpuPerGb = clientCpu / (bytes / 1e9)
          return { value, p99, cpuPerGb, clientCpuPerGb: cpuPerGb }
        },
      })
      return await alternate(subjects, DISK_POINTS, rounds, progress)
    } finally {
      await stage.stop()
    }
  },
}
