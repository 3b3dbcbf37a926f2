/**
 * `tresor reencrypt` beside `cryptsetup reencrypt` on copies of one file, in turn; or, with --open, what fio has of an open
 * volume without and beside its reencryption.
 *
 *   node_modules/.bin/node bench/reencrypt.ts [MIB]
 *   node_modules/.bin/node bench/reencrypt.ts --open [MIB]
 */
import { execFileSync, spawn } from "node:child_process"
import { randomFillSync } from "node:crypto"
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runFio } from "./fio.ts"
import type { Point } from "./points.ts"

const ROUNDS = 3
const LOAD_MS = 10_000
const beside = process.argv.includes("--open")
const mib = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? 512)
const tresor = fileURLToPath(new URL("../tresor", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
const at = (name: string) => join(folder, name)
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const env = { ...process.env, TRESOR_STATE_DIR: at("state"), XDG_CONFIG_HOME: folder }

function run(command: string, ...args: readonly string[]): number {
  const began = performance.now()
  execFileSync(command, args, { env, stdio: ["ignore", "ignore", "inherit"] })
  return (performance.now() - began) / 1000
}

function noise(path: string): void {
  const fd = openSync(path, "w")
  const piece = new Uint8Array(1 << 20)
  for (let n = 0; n < mib; n++) writeSync(fd, randomFillSync(piece))
  fsyncSync(fd)
  closeSync(fd)
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
writeFileSync(at("key"), "a passphrase")
if (beside) await inUse()
else offline()

function offline(): void {
  for (const sector of [4096, 512]) {
    noise(at("volume"))
    run(
      "cryptsetup",
      "luksFormat",
      "-q",
      ...KDF,
      "--sector-size",
      String(sector),
      "--key-file",
      at("key"),
      at("volume"),
    )
    const times = { tresor: [] as number[], cryptsetup: [] as number[], copy: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      const fresh = () => {
        run("cp", at("volume"), at("copy"))
        run("sync", at("copy"))
      }
      fresh()
      times.tresor.push(run(tresor, "reencrypt", "-q", ...KDF, "--key-file", at("key"), at("copy")))
      fresh()
      const offline = ["reencrypt", "-q", "--force-offline-reencrypt", ...KDF, "--key-file", at("key"), at("copy")]
      times.cryptsetup.push(run("cryptsetup", ...offline))
      times.copy.push(run("dd", `if=${at("volume")}`, `of=${at("copy")}`, "bs=1M", "conv=fsync,notrunc", "status=none"))
    }
    const [ours, theirs, copy] = [times.tresor, times.cryptsetup, times.copy].map((each) => median(each).toFixed(1))
    console.log(`| ${sector} | ${ours} | ${theirs} | ${copy} |`)
  }
}

/** fio on the volume's NBD server, alone and while the pass runs; the pass alone, and beside fio. */
async function inUse(): Promise<void> {
  const tresorOf = (...args: readonly string[]) => execFileSync(tresor, args, { env, encoding: "utf8" })
  const rates: Record<string, number[]> = { alone: [], beside: [] }
  const passes: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    noise(at("volume"))
    run("cryptsetup", "luksFormat", "-q", ...KDF, "--sector-size", "4096", "--key-file", at("key"), at("volume"))
    const opened = JSON.parse(tresorOf("open", at("volume"), "bench", "--key-file", at("key"), "--json"))
    const point: Point = { name: "4k", rw: "randwrite", blockKib: 4, depth: 16, unit: "kIOPS" }
    const fio = async (milliseconds: number) => {
      const { value } = await runFio(opened, point, { size: opened.size, milliseconds })
      return value * 1000
    }
    rates["alone"]!.push(await fio(LOAD_MS))
    const words = ["reencrypt", "bench", "-q", ...KDF, "--key-file", at("key")]
    const pass = spawn(tresor, words, { env, stdio: ["ignore", "ignore", "inherit"] })
    const ended = new Promise((resolve) => pass.on("close", resolve))
    const status = () => JSON.parse(tresorOf("status", "bench", "--json")).reencryption as { done: number } | null
    while ((status()?.done ?? 0) === 0 && pass.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 50))
    const before = status()
    const began = performance.now()
    rates["beside"]!.push(await fio(LOAD_MS))
    const after = status()
    if (before === null || after === null) throw new Error(`the pass ended before fio did: give more than ${mib} MiB`)
    passes.push((after.done - before.done) / 2 ** 20 / ((performance.now() - began) / 1000))
    pass.kill("SIGTERM")
    await ended
    tresorOf("close", "bench")
  }
  const [alone, shared] = [median(rates["alone"]!), median(rates["beside"]!)]
  const share = `${Math.round((100 * shared) / alone)} %`
  console.log(`| ${Math.round(alone)} | ${Math.round(shared)} | ${share} | ${median(passes).toFixed(1)} MiB/s |`)
}
