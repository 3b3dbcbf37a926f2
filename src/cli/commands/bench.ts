/** `tresor bench`: speed of this machine, its enclave and the disk under a path. Needs neither root nor other tools. */
import { randomBytes } from "node:crypto"
import { statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import type { Backend } from "../../abi/enclave.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { closeVolume } from "../../control/daemon.ts"
import { openEnclave, openVectors } from "../../enclave/loader.ts"
import { entryRate, xtsSpeed } from "../../enclave/speed.ts"
import type { Enclave } from "../../enclave/types.ts"
import type { Kdf } from "../../luks2/types.ts"
import { NbdClient } from "../../nbd/client.ts"
import { out } from "../output/output.ts"
import { type Progress, progressBar } from "../progress.ts"
import { inScratchFolders } from "../scratch.ts"
import { table } from "../table.ts"
import { createVolume } from "./create.ts"
import { openVolume } from "./open.ts"

const NAME = "bench"
/** The image: 16 MiB of header and the data. */
const IMAGE = 80n << 20n
const DATA = 64 << 20
const XTS_MS = 200
const NBD_MS = 500

const KDFS: readonly (readonly [string, Kdf])[] = [
  ["PBKDF2-SHA256, 100000 iterations", { type: "pbkdf2", hash: "sha256", iterations: 100_000 }],
  ["PBKDF2-SHA512, 100000 iterations", { type: "pbkdf2", hash: "sha512", iterations: 100_000 }],
  ["Argon2id, 4 passes of 64 MiB", { type: "argon2id", time: 4, memoryKib: 65_536, lanes: 1 }],
]

interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: "ms" | "MB/s" | "operations/s"
}

/** One kind of request at a time, `depth` of them under way; bytes a second. */
async function transfer(
  client: NbdClient,
  write: boolean,
  size: number,
  depth: number,
  random: boolean,
): Promise<number> {
  const slots = DATA / size
  const until = performance.now() + NBD_MS
  const started = performance.now()
  let done = 0
  let next = 0
  const lane = async () => {
    const bytes = randomBytes(size)
    while (performance.now() < until) {
      const at = (random ? Math.floor(Math.random() * slots) : next++ % slots) * size
      if (write) await client.write(at, bytes)
      else await client.readInto(at, bytes)
      done++
    }
  }
  await Promise.all(Array.from({ length: depth }, lane))
  return (done * size * 1000) / (performance.now() - started)
}

async function ofKdfs(backend: Backend | "auto", advance: () => void): Promise<Figure[]> {
  await using vectors = await openVectors({ backend })
  const figures: Figure[] = []
  for (const [name, kdf] of KDFS) {
    figures.push({ name, value: await vectors.benchmark(kdf, 32), unit: "ms" })
    advance()
  }
  return figures
}

async function ofEnclave(enclave: Enclave, advance: () => void): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const sectorSize of [512, 4096] as const) {
    for (const decrypt of [false, true]) {
      const name = `AES-256-XTS ${decrypt ? "decrypt" : "encrypt"}, ${sectorSize}-byte sectors, one core`
      figures.push({ name, value: (await xtsSpeed(enclave, sectorSize, decrypt, XTS_MS)) / 1e6, unit: "MB/s" })
      advance()
    }
  }
  figures.push({ name: "enclave entries", value: await entryRate(enclave, XTS_MS), unit: "operations/s" })
  advance()
  return figures
}

async function ofVolume(folder: string, backend: Backend | "auto", advance: () => void): Promise<Figure[]> {
  const keyFile = join(folder, "passphrase")
  writeFileSync(keyFile, randomBytes(32).toString("base64url"), { mode: 0o600 })
  const path = join(folder, "bench.img")
  const cheap = { pbkdf: "pbkdf2", pbkdfForceIterations: 1000, recovery: false, size: IMAGE } as const
  await createVolume(path, { backend, keyFile, ...cheap })
  const { socket } = await openVolume(path, NAME, { backend, keyFile, tries: 1 })
  const figures: Figure[] = []
  {
    await using client = await NbdClient.connect(socket)
    const chunk = randomBytes(1 << 20)
    for (let at = 0; at < DATA; at += chunk.length) await client.write(at, chunk)
    for (const [name, write, size, depth, random] of [
      ["volume read, 1 MiB", false, 1 << 20, 8, false],
      ["volume write, 1 MiB", true, 1 << 20, 8, false],
      ["volume random read, 4 KiB", false, 4096, 16, true],
      ["volume random write, 4 KiB", true, 4096, 16, true],
    ] as const) {
      const speed = await transfer(client, write, size, depth, random)
      figures.push(
        random ? { name, value: speed / size, unit: "operations/s" } : { name, value: speed / 1e6, unit: "MB/s" },
      )
      advance()
    }
    const started = performance.now()
    await client.flush()
    figures.push({ name: "flush to the disk after that", value: performance.now() - started, unit: "ms" })
    advance()
  }
  await closeVolume(NAME)
  return figures
}

const STEPS = KDFS.length + 4 + 1 + 5

function verdict(figures: readonly Figure[]): string {
  const speed = (name: string) => figures.find((figure) => figure.name.startsWith(name))!.value
  const [xts, volume] = [speed("AES-256-XTS decrypt, 4096"), speed("volume read, 1 MiB")]
  const times = (xts / volume).toFixed(1)
  const limits = xts >= volume * 2 ? "is not what limits" : "limits"
  return `One core decrypts ${times} times as fast in the enclave as one client reads the volume: encryption ${limits} it here.`
}

/** A folder that is there, or one line that says why not. */
function checkFolder(path: string): string {
  try {
    if (statSync(path).isDirectory()) return resolve(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new TresorError("BENCH_FOLDER", Exit.wrongDevice, `Cannot measure in ${path}: ${code}; name a directory`)
  }
  throw new TresorError(
    "BENCH_FOLDER",
    Exit.wrongDevice,
    `Cannot measure in ${path}: it is not a directory; name the directory to measure`,
  )
}

export async function bench(
  path: string | undefined,
  options: { readonly backend: Backend | "auto"; readonly json?: true },
): Promise<void> {
  const parent = checkFolder(path ?? tmpdir())
  let steps = 0
  await inScratchFolders(
    "bench",
    async (folder) => {
      let figures: Figure[]
      let identity: Enclave["identity"]
      {
        using progress: Progress = progressBar("Measuring")
        const advance = () => progress.update(++steps / STEPS)
        await using enclave = await openEnclave({ backend: options.backend })
        identity = enclave.identity
        figures = [
          ...(await ofKdfs(options.backend, advance)),
          ...(await ofEnclave(enclave, advance)),
          ...(await ofVolume(folder, options.backend, advance)),
        ]
      }
      const { backend, aes, mrenclave } = identity
      const conclusion = verdict(figures)
      if (options.json === true) {
        const report = { backend, aes, mrenclave, folder: parent, figures, verdict: conclusion }
        out.json(report)
        return
      }
      out.line(`# Backend ${backend}, ${aes}; the volume in ${parent}, cached by the system.`)
      const text = (value: number) => value.toFixed(value < 100 ? 1 : 0)
      out.text(
        table(
          ["measured", "   figure", "unit"],
          figures.map(({ name, value, unit }) => [name, text(value).padStart(9), unit]),
          out.columns,
        ),
      )
      out.line(`${conclusion}`)
    },
    parent,
  )
}
