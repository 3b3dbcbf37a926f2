/**
 * Our encrypted NBD export beside the servers people would use instead, with everything in the page cache: the
 * servers are measured, not the disk.
 */
import { alternate, type Measurable, type Sample } from "./alternate.ts"
import { type Server, Stage, type StageOptions } from "./contenders.ts"
import { runFio } from "./fio.ts"
import { CACHED_GOALS } from "./goals.ts"
import { POINTS, type Point } from "./points.ts"
import { cpuSeconds } from "./process-cpu.ts"
import type { Table } from "./table.ts"

/** What SGX papers measure for an entry and exit with current microcode, both together. */
const MODELLED_CYCLES = 14_000

/** One run of fio against a server, with the CPU time of both. */
export async function measureServer(
  { socket, pid }: Server,
  point: Point,
  options: Parameters<typeof runFio>[2],
): Promise<Sample> {
  const before = cpuSeconds(pid)
  const { value, bytes, clientCpu, p99 } = await runFio({ socket }, point, options)
  const gigabytes = bytes / 1e9
  return { value, p99, cpuPerGb: (cpuSeconds(pid) - before) / gigabytes, clientCpuPerGb: clientCpu / gigabytes }
}

/** Without goals of its own: another checkout, for the ratio of old and new. */
export const BESIDE = "tresor, beside"

async function contenders(stage: Stage, beside: string | null): Promise<[string, Server][]> {
  const modelled = ["--transition-cycles", String(MODELLED_CYCLES)]
  const servers: [string, Server][] = [
    ["tresor", await stage.ours("plain", { locked: true })],
    ["tresor, transitions", await stage.ours("modelled", { locked: true, options: modelled })],
    ["nbdkit file", await stage.nbdkitFile(true)],
    ["nbdkit luks", await stage.nbdkitLuks(true)],
    ["qemu-nbd luks", await stage.qemuLuks(true)],
  ]
  if (beside !== null) servers.push([BESIDE, await stage.ours("beside", { locked: true, checkout: beside })])
  return servers
}

export const CACHED: Table = {
  name: "nbd",
  title: "NBD servers, everything in the page cache: encrypted by Tresor, beside its peers",
  condition: "cached",
  points: POINTS,
  goals: CACHED_GOALS,
  rounds: 7,
  measure: async (options: StageOptions, { milliseconds, rounds, beside, stopping }) => {
    const { size, progress } = options
    const stage = new Stage(options)
    stopping(() => stage.stop())
    try {
      const subjects = (await contenders(stage, beside)).map(
        ([name, server]): Measurable => ({
          name,
          measure: (point) => measureServer(server, point, { size, milliseconds }),
        }),
      )
      return await alternate(subjects, POINTS, rounds, progress)
    } finally {
      await stage.stop()
    }
  },
}
