/**
 * `tresor reencrypt` beside `cryptsetup reencrypt` on copies of one file, in turn: on the disk, with nothing of it in the
 * page cache, beside what fio reads and writes of the same file at once; and in memory, where flushes cost nothing. Or,
 * with --open, what fio has of an open volume without and beside its reencryption. Prints what came of each goal, and what
 * the CPUs would allow in memory (reencrypt-limit.ts).
 *
 *   node_modules/.bin/node bench/reencrypt.ts [--open | --memory] [--rounds N] [--folder FOLDER] [MIB]
 *
 * --memory leaves the disk out.
 * `chrt -r 1` before it keeps others off the CPUs; fio and cryptsetup inherit it.
 */
import { execFileSync, spawn } from "node:child_process"
import { randomFillSync } from "node:crypto"
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { requireDisk } from "./caches.ts"
import { mixedSeconds, runFio } from "./fio.ts"
import type { Point } from "./points.ts"
import { cpuSeconds, peakBytes } from "./process-cpu.ts"
import { leastSeconds, measureStages, sumOf } from "./reencrypt-limit.ts"
import { median } from "./statistics.ts"

const LOAD_MS = 10_000
/** Of fio's rate on the disk; of cryptsetup's in memory; of fio's rate alone; bytes, whatever the volume's size. */
const GOALS = { disk: 0.8, memory: 3, open: 0.5, resident: 384 << 20 } as const
const LOOK_MS = 10
/** A volume with next to no data: what it takes is the start and the end of a pass. */
const START_MIB = 18
const IN_MEMORY = "/dev/shm"
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
/** As it is installed: without the script that looks whether a checkout is built. */
const tresor = fileURLToPath(new URL("../dist/tresor", import.meta.url))

const { values, positionals } = parseArgs({
  options: {
    open: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    folder: { type: "string", default: tmpdir() },
    memory: { type: "boolean", default: false },
  },
  allowPositionals: true,
})
const rounds = Number(values.rounds)
const mib = Number(positionals[0] ?? 1024)

interface Run {
  readonly seconds: number
  /** Seconds of CPU, and the most bytes that were resident. */
  readonly cpu: number
  readonly resident: number
}

/** Looks at the process while it runs: what it does in its last 10 ms is left out. */
function measured(env: NodeJS.ProcessEnv, command: string, ...args: readonly string[]): Promise<Run> {
  const began = performance.now()
  const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "inherit"] })
  let [cpu, resident] = [0, 0]
  const looking = setInterval(() => {
    try {
      ;[cpu, resident] = [cpuSeconds(child.pid!), peakBytes(child.pid!)]
    } catch {
      // It has ended.
    }
  }, LOOK_MS)
  return new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("exit", (code) => {
      clearInterval(looking)
      if (code === 0) resolve({ seconds: (performance.now() - began) / 1000, cpu, resident })
      else reject(new Error(`${command} ${args[0]} ended with ${code}`))
    })
  })
}

const run = (command: string, ...args: readonly string[]): void =>
  void execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] })

/** Files in a folder of their own, with a passphrase in it, until it is disposed of, or the process ends. */
class Scratch implements Disposable {
  readonly #folder: string
  readonly env: NodeJS.ProcessEnv

  constructor(parent: string) {
    this.#folder = mkdtempSync(join(parent, "tresor-bench-"))
    this.env = { ...process.env, TRESOR_STATE_DIR: this.path("state"), XDG_CONFIG_HOME: this.#folder }
    writeFileSync(this.path("key"), "a passphrase")
    process.on("exit", () => this[Symbol.dispose]())
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  path(name: string): string {
    return join(this.#folder, name)
  }

  get key(): readonly string[] {
    return [...KDF, "--key-file", this.path("key")]
  }

  format(sector: number, size = mib): void {
    const fd = openSync(this.path("volume"), "w")
    const piece = new Uint8Array(1 << 20)
    for (let n = 0; n < size; n++) writeSync(fd, randomFillSync(piece))
    fsyncSync(fd)
    closeSync(fd)
    run("cryptsetup", "luksFormat", "-q", "--sector-size", String(sector), ...this.key, this.path("volume"))
  }

  /** A copy of the volume, of which the page cache has nothing. */
  copy(): string {
    const copy = this.path("copy")
    rmSync(copy, { force: true })
    run("cp", this.path("volume"), copy)
    run("sync", copy)
    run("dd", `if=${copy}`, "iflag=nocache", "count=0", "status=none")
    return copy
  }
}

function judge(goal: string, found: number, limit: number, unit = ""): void {
  const most = unit !== ""
  const reached = most ? found <= limit : found >= limit
  const wanted = `${most ? "<=" : ">="} ${limit}${unit}`
  console.log(`${goal}: ${found.toFixed(most ? 0 : 2)}${unit}, ${wanted}: ${reached ? "reached" : "not reached"}`)
}

const middle = (runs: readonly Run[], of: keyof Run): number => median(runs.map((each) => each[of]))

interface Offline {
  readonly tresor: Run[]
  readonly cryptsetup: Run[]
  /** Seconds; empty in memory. */
  readonly fio: number[]
}

async function offline(parent: string, sector: number, withFio: boolean): Promise<Offline> {
  using scratch = new Scratch(parent)
  scratch.format(sector)
  const found: Offline = { tresor: [], cryptsetup: [], fio: [] }
  for (let round = 0; round < rounds; round++) {
    found.tresor.push(await reencrypt(scratch.copy(), scratch))
    found.cryptsetup.push(await reencryptTheirs(scratch.copy(), scratch))
    if (withFio) found.fio.push(await mixedSeconds(scratch.copy(), mib * 2 ** 20))
  }
  return found
}

/** Whole commands. */
const reencrypt = (file: string, { env, key }: Scratch): Promise<Run> =>
  measured(env, tresor, "reencrypt", "-q", ...key, file)
const reencryptTheirs = (file: string, { env, key }: Scratch): Promise<Run> =>
  measured(env, "cryptsetup", "reencrypt", "-q", "--force-offline-reencrypt", ...key, file)

/** What the CPUs would allow in memory. `peers`: cryptsetup's seconds by sector size. */
async function limits(peers: ReadonlyMap<512 | 4096, number>): Promise<void> {
  console.log(
    "\n| sectors | read | SHA-256 | AES-XTS, two keys | write | sum, CPU s/GiB | start, s | cryptsetup's, s | least, s | times | without starts |",
  )
  console.log("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
  const gib = mib / 1024
  for (const [sector, peer] of peers) {
    using scratch = new Scratch(IN_MEMORY)
    scratch.format(sector, START_MIB)
    const starts: { readonly ours: number[]; readonly theirs: number[] } = { ours: [], theirs: [] }
    for (let round = 0; round < rounds; round++) {
      starts.ours.push((await reencrypt(scratch.copy(), scratch)).seconds)
      starts.theirs.push((await reencryptTheirs(scratch.copy(), scratch)).seconds)
    }
    const [start, peerStart] = [median(starts.ours), median(starts.theirs)]
    scratch.format(sector)
    const stages = await measureStages(scratch.path("volume"), sector, scratch.path("state"))
    const moving = leastSeconds(stages, gib)
    const { read, hash, xts, write } = stages
    const cells = [read, hash, xts, write, sumOf(stages), start, peerStart, start + moving]
    const most = [peer / (start + moving), (peer - peerStart) / moving]
    console.log(`| ${sector} | ${[...cells, ...most].map((cell) => cell.toFixed(2)).join(" | ")} |`)
  }
}

/** A volume and its copy are in memory, and what they take is not swapped out here. Throws when there is too little. */
function checkMemory(): void {
  const [needed, free] = [
    2 * mib,
    Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))![1]) >> 10,
  ]
  if (needed + 1024 > free)
    throw new Error(`not enough memory: a volume and its copy take ${needed} MiB, and ${free} are free`)
}

async function closed(): Promise<void> {
  checkMemory()
  if (!values.memory) requireDisk(values.folder)
  console.log(
    "| where, sectors | tresor, s | cryptsetup, s | fio, s | tresor, CPU s | cryptsetup, CPU s | tresor, MiB |",
  )
  console.log("|---|--:|--:|--:|--:|--:|--:|")
  const goals: (() => void)[] = []
  const peers = new Map<512 | 4096, number>()
  for (const where of values.memory ? (["memory"] as const) : (["disk", "memory"] as const)) {
    const parent = where === "disk" ? values.folder : IN_MEMORY
    for (const sector of [4096, 512] as const) {
      const { tresor: ours, cryptsetup: theirs, fio } = await offline(parent, sector, where === "disk")
      const [seconds, peer] = [middle(ours, "seconds"), middle(theirs, "seconds")]
      if (where === "memory") peers.set(sector, peer)
      const resident = Math.max(...ours.map((each) => each.resident))
      const cells = [
        ...[seconds, peer].map((value) => value.toFixed(2)),
        fio.length === 0 ? "" : median(fio).toFixed(2),
        ...[middle(ours, "cpu"), middle(theirs, "cpu")].map((value) => value.toFixed(2)),
        Math.round(resident / 2 ** 20),
      ]
      console.log(`| ${where}, ${sector} | ${cells.join(" | ")} |`)
      const name = `${where}, sectors of ${sector}`
      goals.push(
        where === "disk"
          ? () => judge(`${name}: rate, share of fio's`, median(fio) / seconds, GOALS.disk)
          : () => judge(`${name}: rate, times cryptsetup's`, peer / seconds, GOALS.memory),
        () => judge(`${name}: memory`, resident / 2 ** 20, GOALS.resident / 2 ** 20, " MiB"),
      )
    }
  }
  await limits(peers)
  console.log("")
  for (const goal of goals) goal()
}

/** fio on the volume's NBD server, alone and while the pass runs; the pass beside fio. */
async function inUse(): Promise<void> {
  using scratch = new Scratch(values.folder)
  const { env, key } = scratch
  const tresorOf = (...args: readonly string[]) => execFileSync(tresor, args, { env, encoding: "utf8" })
  const rates: { readonly alone: number[]; readonly beside: number[] } = { alone: [], beside: [] }
  const passes: number[] = []
  for (let round = 0; round < rounds; round++) {
    scratch.format(4096)
    const opened = JSON.parse(tresorOf("open", scratch.path("volume"), "bench", ...key.slice(-2), "--json"))
    const point: Point = { name: "4k", rw: "randwrite", blockKib: 4, depth: 16, unit: "kIOPS" }
    const fio = async (milliseconds: number) => {
      const { value } = await runFio(opened, point, { size: opened.size, milliseconds })
      return value * 1000
    }
    rates.alone.push(await fio(LOAD_MS))
    const pass = spawn(tresor, ["reencrypt", "bench", "-q", ...key], { env, stdio: ["ignore", "ignore", "inherit"] })
    const ended = new Promise((resolve) => pass.on("close", resolve))
    const status = () => JSON.parse(tresorOf("status", "bench", "--json")).reencryption as { done: number } | null
    while ((status()?.done ?? 0) === 0 && pass.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 50))
    const before = status()
    const began = performance.now()
    rates.beside.push(await fio(LOAD_MS))
    const after = status()
    if (before === null || after === null) throw new Error(`the pass ended before fio did: give more than ${mib} MiB`)
    passes.push((after.done - before.done) / 2 ** 20 / ((performance.now() - began) / 1000))
    pass.kill("SIGTERM")
    await ended
    tresorOf("close", "bench")
  }
  const [alone, shared] = [median(rates.alone), median(rates.beside)]
  const share = `${Math.round((100 * shared) / alone)} %`
  console.log("| IOPS alone | IOPS beside the pass | share | the pass beside fio |\n|---|---|---|---|")
  console.log(`| ${Math.round(alone)} | ${Math.round(shared)} | ${share} | ${median(passes).toFixed(1)} MiB/s |\n`)
  judge("fio's rate beside the pass, share of its rate alone", shared / alone, GOALS.open)
}

if (values.open) await inUse()
else await closed()
