/**
 * npm run soak -- --minutes N [--socket PATH]
 *
 * Several clients load an open volume, verify every byte, flush, leave and are
 * killed; fio does the same beside them where it is installed. Passes when all
 * checksums are equal, also after the volume was closed and opened again, the
 * server's memory is flat and no descriptor is left. Without --socket, on a
 * scratch volume of its own; with it, on the volume served there, whose data
 * are overwritten.
 */
import { execFile, spawn } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs, promisify } from "node:util"
import { peerCredentials } from "../src/native/addon.ts"
import { NbdClient } from "../src/nbd/client.ts"
import { LANE, type SoakCounters, SoakLane } from "./soak-lane.ts"

const LANES = 6
const FIO = 16 << 20
const MIB = 1 << 20
/** What a heap may vary by between collections. */
const RSS_SLACK = 12 * MIB

interface Target {
  readonly socket: string
  readonly pid: number
  /** Closes and opens again; absent for a volume that is not ours. */
  readonly reopen?: () => Promise<Target>
  readonly remove: () => Promise<void>
}

/** A scratch volume made, opened and removed by the command line. */
async function scratch(): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), "tresor-soak-"))
  const env = { ...process.env, TRESOR_RUNTIME_DIR: join(folder, "run"), TRESOR_STATE_DIR: join(folder, "state") }
  const command = fileURLToPath(new URL("../tresor", import.meta.url))
  const tresor = async (...args: string[]) => (await promisify(execFile)(command, args, { env })).stdout
  const volume = join(folder, "volume")
  const key = join(folder, "key")
  const remove = async () => {
    await tresor("close", "soak").catch(() => {})
    rmSync(folder, { recursive: true })
  }
  const open = async (): Promise<Target> => {
    const { socket, pid } = JSON.parse(await tresor("open", volume, "soak", "--key-file", key, "--json"))
    const reopen = async () => {
      await tresor("close", "soak")
      return await open()
    }
    return { socket, pid, reopen, remove }
  }
  try {
    writeFileSync(key, randomBytes(32), { mode: 0o600 })
    const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    await tresor("create", volume, "--size", "160M", "--key-file", key, "--no-recovery", ...cheap)
    return await open()
  } catch (error) {
    await remove()
    throw error
  }
}

/** Somebody's volume; its server is who listens there. */
async function existing(path: string): Promise<Target> {
  const socket = createConnection(path)
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject))
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  const { pid } = peerCredentials(fd)
  socket.destroy()
  return { socket: path, pid, remove: async () => {} }
}

const rss = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** fio with verify, started again and again, killed now and then. Resolves to the number of full runs, `null` without fio. */
async function fio(socket: string, offset: number, over: () => boolean): Promise<number | null> {
  // A thread: jobs of their own would outlive a killed fio.
  const args = [
    "--thread",
    "--ioengine=nbd",
    `--uri=nbd+unix:///?socket=${socket}`,
    "--rw=randrw",
    "--bsrange=512-128k",
  ]
  args.push(
    "--iodepth=16",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--verify_backlog=128",
    "--verify_state_save=0",
    "--fsync=64",
  )
  args.push("--name=soak", `--offset=${offset}`, `--size=${FIO}`, "--output-format=terse")
  let runs = 0
  while (!over()) {
    const child = spawn("fio", args, { stdio: ["ignore", "ignore", "pipe"] })
    let said = ""
    child.stderr.on("data", (data) => (said += data))
    const ended = new Promise<number | null | "missing">((resolve) => {
      child.once("error", () => resolve("missing"))
      child.once("exit", (code) => resolve(code))
    })
    const killed = runs % 3 === 2 ? sleep(randomInt(50, 1000), "killed" as const) : new Promise<never>(() => {})
    const result = await Promise.race([ended, killed])
    if (result === "missing") return null
    if (result === "killed") {
      child.kill("SIGKILL")
      await ended
    } else if (result !== 0) {
      throw new Error(`fio ended with ${result}: ${said}`)
    }
    runs++
  }
  return runs
}

async function soak(target: Target, minutes: number): Promise<string[]> {
  const counters: SoakCounters = { operations: 0, bytes: 0, connects: 0, kills: 0, flushes: 0 }
  {
    await using client = await NbdClient.connect(target.socket)
    if (client.size < LANES * LANE + FIO) throw new Error(`the volume is smaller than ${LANES * LANE + FIO} bytes`)
  }
  const lanes = Array.from({ length: LANES }, (_, n) => new SoakLane(target.socket, FIO + n * LANE, counters))
  for (const lane of lanes) await lane.prepare()
  await sleep(200)
  const before = descriptors(target.pid)
  const started = performance.now()
  let failure: unknown = null
  const over = () => failure !== null || performance.now() - started >= minutes * 60_000
  const fail = (error: unknown) => {
    failure ??= error
    return null
  }
  const samples: number[] = []
  const watch = (async () => {
    for (let second = 0; !over(); second++) {
      samples.push(rss(target.pid))
      if (second % 10 === 0) {
        const { operations, connects, kills } = counters
        const memory = Math.round(samples.at(-1)! / MIB)
        process.stderr.write(
          `${second} s: ${operations} operations, ${connects} connects, ${kills} kills, ${memory} MiB\n`,
        )
      }
      await sleep(1000)
    }
  })().catch(fail)
  const [runs] = await Promise.all([
    fio(target.socket, 0, over).catch(fail),
    ...lanes.map((lane) => lane.run(over).catch(fail)),
    watch,
  ])
  if (failure !== null) throw failure
  // What killed clients had sent is still being written.
  let left = descriptors(target.pid)
  for (let tries = 0; left > before && tries < 100; tries++) {
    await sleep(100)
    left = descriptors(target.pid)
  }
  for (const lane of lanes) await lane.verify()
  // The first quarter is for caches, pools and the compiler to warm up.
  const quarter = Math.ceil(samples.length / 4)
  const early = median(samples.slice(quarter, 2 * quarter))
  const late = median(samples.slice(-quarter))
  const findings: string[] = []
  if (left > before) findings.push(`${left - before} descriptors are left`)
  if (late - early > RSS_SLACK + early / 10) findings.push(`memory grew from ${early >> 20} to ${late >> 20} MiB`)
  const mib = Math.round(counters.bytes / MIB)
  const { operations, connects, kills, flushes } = counters
  process.stdout.write(
    `${operations} operations, ${mib} MiB, ${connects} connects, ${kills} kills, ${flushes} flushes, ` +
      `${runs === null ? "no fio here" : `${runs} runs of fio`}\n` +
      `memory ${Math.round(early / MIB)} -> ${Math.round(late / MIB)} MiB, descriptors ${before} -> ${left}\n`,
  )
  if (target.reopen !== undefined) {
    const again = await target.reopen()
    for (const lane of lanes) await lane.verify(again.socket)
    process.stdout.write("checksums are equal, also after closing and opening again\n")
  } else {
    process.stdout.write("checksums are equal\n")
  }
  return findings
}

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "1" }, socket: { type: "string" } },
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) {
  process.stderr.write("soak: --minutes takes a number above 0\n")
  process.exit(1)
}
const target = values.socket === undefined ? await scratch() : await existing(values.socket)
try {
  const findings = await soak(target, minutes)
  for (const finding of findings) process.stderr.write(`soak: ${finding}\n`)
  if (findings.length > 0) process.exitCode = 1
} catch (error) {
  process.stderr.write(`soak: ${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await target.remove()
}
