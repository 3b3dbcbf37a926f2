/**
 * The same export and its peers on the disk: nothing is in the page cache when a run begins, and no block is read
 * twice in it.
 */
import { alternate, type Measurable } from "./alternate.ts"
import { dropCaches, requireDisk } from "./caches.ts"
import { type FileServer, HEADER, type Server, Stage, type StageOptions } from "./contenders.ts"
import { runFio } from "./fio.ts"
import { DISK_GOALS } from "./goals.ts"
import { BESIDE, measureServer } from "./nbd.ts"
import { DISK_POINTS, type Point } from "./points.ts"
import type { Table } from "./table.ts"

/** Of volumes of the same size and content: what is opened with --direct is another one. */
interface Pair<S extends Server> {
  readonly cached: S
  readonly direct: S
}

const of = <S extends Server>({ direct, cached }: Pair<S>, point: Point): S => (point.direct === true ? direct : cached)

async function volumes(stage: Stage, name: string, checkout?: string): Promise<Pair<FileServer>> {
  const at = checkout === undefined ? {} : { checkout }
  const cached = await stage.ours(name, { locked: false, ...at })
  return { cached, direct: await stage.ours(`${name}-direct`, { locked: false, options: ["--direct"], ...at }) }
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
    const behindHeader = { ...run, from: HEADER }
    const stage = new Stage(options)
    stopping(() => stage.stop())
    try {
      const ours = await volumes(stage, "plain")
      // The same files, without a cipher.
      const nbdkit = { cached: await stage.nbdkitBeside(ours.cached), direct: await stage.nbdkitBeside(ours.direct) }
      // Locked in memory: what the server does where there is no disk to wait for.
      const cached = await stage.ours("cached", { locked: true })
      const nbdkitLuks = await stage.nbdkitLuks(false)
      const qemuLuks = await stage.qemuLuks(false)
      const subjects: Measurable[] = [
        { name: "tresor", measure: (point) => measureServer(of(ours, point), point, run) },
        { name: "tresor, cached", measure: (point) => measureServer(cached, point, run) },
        { name: "nbdkit file", measure: (point) => measureServer(of(nbdkit, point), point, behindHeader) },
        { name: "nbdkit luks", measure: (point) => measureServer(nbdkitLuks, point, run) },
        { name: "qemu-nbd luks", measure: (point) => measureServer(qemuLuks, point, run) },
        {
          name: "fio, raw file",
          measure: async (point) => {
            const { image } = of(ours, point)
            const { value, bytes, clientCpu, p99 } = await runFio({ file: image }, point, behindHeader)
            // It is server and client in one.
            const cpuPerGb = clientCpu / (bytes / 1e9)
            return { value, p99, cpuPerGb, clientCpuPerGb: cpuPerGb }
          },
        },
      ]
      if (beside !== null) {
        const old = await volumes(stage, "beside", beside)
        subjects.push({ name: BESIDE, measure: (point) => measureServer(of(old, point), point, run) })
      }
      const fromDisk = subjects.map(({ name, measure }): Measurable => {
        const dropped = (point: Point) => {
          dropCaches()
          return measure(point)
        }
        return { name, measure: dropped }
      })
      return await alternate(fromDisk, DISK_POINTS, rounds, progress)
    } finally {
      await stage.stop()
    }
  },
}
