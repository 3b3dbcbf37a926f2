/** One run of fio: its nbd engine against a UNIX socket, or its io_uring engine past the page cache on a file. */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import type { Point } from "./points.ts"

export interface FioResult {
  /** In the unit of the point. */
  readonly value: number
  readonly bytes: number
  /** Microseconds; completion latency. */
  readonly p99: number
  /** Seconds of CPU the client itself used. */
  readonly clientCpu: number
}

interface Direction {
  readonly io_bytes: number
  readonly bw_bytes: number
  readonly iops: number
  readonly runtime: number
  readonly clat_ns: { readonly mean: number; readonly percentile: Readonly<Record<string, number>> }
}

interface FioJob {
  readonly error: number
  readonly usr_cpu: number
  readonly sys_cpu: number
  readonly job_runtime: number
  readonly read: Direction
  readonly write: Direction
}

export type Target = { readonly socket: string } | { readonly file: string }

export interface FioOptions {
  /** Bytes that are used, from `from` on; default: from the start. */
  readonly size: number
  readonly from?: number
  readonly milliseconds: number
  /** Each byte once at most: a run may end early. Else it starts over until the time is up. */
  readonly once?: boolean
}

const engine = (target: Target): string[] =>
  "socket" in target
    ? ["--thread", "--ioengine=nbd", `--uri=nbd+unix:///?socket=${target.socket}`]
    : ["--ioengine=io_uring", "--direct=1", `--filename=${target.file}`]

/** Rejects when fio fails or reports an error. `what`: for that message. */
async function fioJob(what: string, words: readonly string[]): Promise<FioJob> {
  const { stdout } = await promisify(execFile)("fio", ["--name=bench", ...words, "--output-format=json"], {
    maxBuffer: 16 << 20,
  })
  // The nbd engine says "connected to NBD server" ahead of the JSON.
  const [job] = (JSON.parse(stdout.slice(stdout.indexOf("{"))) as { jobs: FioJob[] }).jobs
  if (job === undefined || job.error !== 0) throw new Error(`fio reports error ${job?.error} at ${what}`)
  return job
}

/** Seconds to read a file of that many bytes once and to write it once, both at a time, past the page cache. */
export async function mixedSeconds(file: string, size: number): Promise<number> {
  const job = await fioJob("mixed", [
    ...engine({ file }),
    "--rw=rw",
    "--rwmixread=50",
    "--bs=1M",
    "--iodepth=8",
    `--size=${size}`,
    `--io_size=${2 * size}`,
    "--end_fsync=1",
  ])
  return (2 * size) / (job.read.bw_bytes + job.write.bw_bytes)
}

/** Rejects when fio fails or reports an error. */
export async function runFio(
  target: Target,
  point: Point,
  { size, from = 0, milliseconds, once = false }: FioOptions,
): Promise<FioResult> {
  const job = await fioJob(point.name, [
    ...engine(target),
    `--rw=${point.rw}`,
    `--bs=${point.blockKib}k`,
    `--iodepth=${point.depth}`,
    `--offset=${from}`,
    `--size=${size}`,
    "--randrepeat=0",
    // The map of blocks that had their turn is what makes it once.
    ...(once ? [] : ["--norandommap", "--time_based"]),
    `--runtime=${milliseconds}ms`,
    // The nbd engine has no fdatasync; FLUSH is both.
    ...(point.fsyncEvery === undefined ? [] : [`--fsync=${point.fsyncEvery}`]),
  ])
  const direction = point.rw.endsWith("read") ? job.read : job.write
  const value = { kIOPS: direction.iops / 1e3, "MB/s": direction.bw_bytes / 1e6, us: direction.clat_ns.mean / 1e3 }
  return {
    value: value[point.unit],
    bytes: direction.io_bytes,
    p99: (direction.clat_ns.percentile["99.000000"] ?? 0) / 1e3,
    clientCpu: ((job.usr_cpu + job.sys_cpu) / 100) * (job.job_runtime / 1e3),
  }
}
