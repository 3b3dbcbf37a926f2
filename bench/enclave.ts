/**
 * node_modules/.bin/node bench/enclave.ts [--json]
 *
 * AES-256-XTS inside the enclave on one core, at each level of instructions
 * the CPU has, beside `openssl speed`; its KDFs beside libcryptsetup's with the
 * same parameters; entries a second. Alternates with the peers; medians of five.
 */
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { Cpu } from "../src/abi/enclave.ts"
import { openEnclave, openVectors } from "../src/enclave/loader.ts"
import { entryRate, xtsSpeed } from "../src/enclave/speed.ts"
import type { VectorsClient } from "../src/enclave/vectors.ts"
import type { Kdf } from "../src/luks2/types.ts"
import { removeFolder } from "./contenders.ts"
import { describeMachine } from "./machine.ts"
import { summarize } from "./statistics.ts"

const run = promisify(execFile)
const ROUNDS = 5
const XTS_MS = 200

const ALL = 0xffff_ffff
/** Features taken away, so that the enclave dispatches to the path named. */
const LEVELS: readonly (readonly [string, number])[] = [
  ["vaes512", ALL],
  ["vaes256", ALL & ~Cpu.vaes512],
  ["aesni", ALL & ~Cpu.vaes512 & ~Cpu.vaes256],
]

interface Line {
  readonly name: string
  readonly ours: number
  readonly theirs: number
  readonly unit: "GB/s" | "ms"
  readonly ratio: number
  readonly wanted: string
  readonly reached: boolean
}

/** Bytes a second of one process, in blocks of 8 KiB. */
async function opensslSpeed(): Promise<number> {
  const { stdout } = await run("openssl", ["speed", "-mr", "-seconds", "1", "-bytes", "8192", "-evp", "aes-256-xts"])
  const found = /^\+F:\d+:[^:]+:([\d.]+)/m.exec(stdout)
  if (found === null) throw new Error(`openssl speed said something else: ${stdout}`)
  return Number(found[1])
}

async function xtsLines(stateDir: string): Promise<Line[]> {
  const lines: Line[] = []
  for (const [level, cpu] of LEVELS) {
    await using enclave = await openEnclave({ backend: "software", stateDir, cpu: cpu >>> 0 })
    // A CPU without the instructions takes the next path, which has its own line.
    if (enclave.identity.aes !== level) continue
    const samples = { 512: [] as number[], 4096: [] as number[], openssl: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const sectorSize of [512, 4096] as const) {
        samples[sectorSize].push(await xtsSpeed(enclave, sectorSize, true, XTS_MS))
      }
      samples.openssl.push(await opensslSpeed())
    }
    const theirs = summarize(samples.openssl).median
    for (const sectorSize of [512, 4096] as const) {
      const ours = summarize(samples[sectorSize]).median
      // The widest vectors have goals of their own; narrower ones, forced, are to be level.
      const goal = level !== "vaes512" ? 1 : sectorSize === 512 ? 1.2 : 2.5
      lines.push({
        name: `AES-256-XTS, ${sectorSize}-byte sectors, ${level}`,
        ours: ours / 1e9,
        theirs: theirs / 1e9,
        unit: "GB/s",
        ratio: ours / theirs,
        wanted: `>= ${goal}`,
        reached: ours / theirs >= goal,
      })
    }
  }
  return lines
}

const KDFS: readonly (readonly [string, Kdf, readonly string[]])[] = [
  ...(["sha256", "sha512"] as const).map((hash): [string, Kdf, readonly string[]] => [
    `PBKDF2-${hash}, 2000000 iterations`,
    { type: "pbkdf2", hash, iterations: 2_000_000 },
    ["--pbkdf", "pbkdf2", "--hash", hash, "--pbkdf-force-iterations", "2000000"],
  ]),
  ...(["argon2id", "argon2i"] as const).map((type): [string, Kdf, readonly string[]] => [
    `${type}, 4 passes of 256 MiB`,
    { type, time: 4, memoryKib: 262_144, lanes: 1 },
    ["--pbkdf", type, "--pbkdf-force-iterations", "4", "--pbkdf-memory", "262144", "--pbkdf-parallel", "1"],
  ]),
]

/** Milliseconds of one unlock by cryptsetup. */
async function testPassphrase(image: string, key: string): Promise<number> {
  const started = performance.now()
  await run("cryptsetup", ["open", "--test-passphrase", "--key-file", key, image])
  return performance.now() - started
}

async function format(image: string, key: string, options: readonly string[]): Promise<void> {
  writeFileSync(image, "")
  truncateSync(image, 20 << 20)
  await run("cryptsetup", ["luksFormat", "--batch-mode", "--type", "luks2", ...options, image, key])
}

async function kdfLines(vectors: VectorsClient, folder: string): Promise<Line[]> {
  const key = join(folder, "key")
  writeFileSync(key, randomBytes(32))
  const [cheap, image] = [join(folder, "cheap"), join(folder, "image")]
  const lines: Line[] = []
  for (const [name, kdf, options] of KDFS) {
    // What an unlock takes beside the slot's KDF: the same with next to no KDF.
    const hash = kdf.type === "pbkdf2" ? ["--hash", kdf.hash] : []
    await format(cheap, key, [...hash, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"])
    await format(image, key, options)
    const [ours, theirs]: [number[], number[]] = [[], []]
    for (let round = 0; round < ROUNDS; round++) {
      ours.push(await vectors.benchmark(kdf, 64))
      theirs.push((await testPassphrase(image, key)) - (await testPassphrase(cheap, key)))
    }
    const [a, b] = [summarize(ours).median, summarize(theirs).median]
    lines.push({ name, ours: a, theirs: b, unit: "ms", ratio: a / b, wanted: "<= 1.1", reached: a / b <= 1.1 })
  }
  return lines
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } })
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
try {
  const stateDir = join(folder, "state")
  const lines = await xtsLines(stateDir)
  await using enclave = await openEnclave({ backend: "software", stateDir })
  {
    await using vectors = await openVectors({ backend: "software" })
    lines.push(...(await kdfLines(vectors, folder)))
  }
  await using modelled = await openEnclave({ backend: "software", stateDir, transitionCycles: 14_000 })
  const entries = { plain: await entryRate(enclave, 500), modelled: await entryRate(modelled, 500) }
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ machine: describeMachine(), lines, entries }, null, 2)}\n`)
  } else {
    for (const { name, ours, theirs, unit, ratio, wanted, reached } of lines) {
      const figures = `${ours.toFixed(unit === "ms" ? 0 : 2)} ${unit}, theirs ${theirs.toFixed(unit === "ms" ? 0 : 2)}`
      process.stdout.write(
        `${reached ? "reached    " : "not reached"}  ${name}: ${figures}, ratio ${ratio.toFixed(2)} (goal ${wanted})\n`,
      )
    }
    const rates = `${Math.round(entries.plain)}; with 14000 modelled cycles ${Math.round(entries.modelled)}`
    process.stdout.write(`entries a second, one 512-byte sector each, from JavaScript: ${rates}\n`)
  }
} finally {
  removeFolder(folder)
}
