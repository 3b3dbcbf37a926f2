/**
 * Boots a machine, runs parts of checks/ in it and gathers what it reports.
 * By itself, for a part under work: node_modules/.bin/node test/vm/checks.ts [--later|--newest] PART...
 */
import assert from "node:assert/strict"
import { mkdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { parseArgs } from "node:util"
import { anotherVersion } from "../cli/another-version.ts"
import { buildAgainst, headersOf, laterKernel, newestKernel, stockKernel } from "./kernels.ts"
import { makeLegacyState } from "./legacy-state.ts"
import { type Disk, type Kernel, Machine, root, run } from "./machine.ts"
import { judge } from "./memory.ts"

const directory = join(root, "build", "vm")
const modules = join(root, "kernel")

/** Told of ERMS, the guest copies with `rep movsb`, which the emulator does byte by byte: decisions/0055 has both. */
export const CPU = "max,-erms,-fsrm"

export interface Result {
  readonly name: string
  readonly passed: boolean
  readonly notes: string[]
}

/** Test files run side by side; what they build is built once. */
function alone(command: string, ...args: string[]): void {
  mkdirSync(directory, { recursive: true })
  run("flock", [join(directory, "lock"), command, ...args])
}

/** The programs the checks use. */
export function buildPrograms(): void {
  // What the guest's tresord is: the programs as they are bundled.
  alone("node", join(root, "scripts/build.mjs"))
  alone("make", "-s", "-f", join(import.meta.dirname, "Makefile"), "-C", directory)
}

/** What the part `product` needs beside them. */
export const makeState = (): Promise<void> => makeLegacyState(join(directory, "legacy"))

/** What the part `block` needs beside them: an installation whose enclave nobody has approved. */
export const makeOther = () => anotherVersion(join(directory, "other"))

/** Builds tresor.ko and its tests for a kernel; returns the words that tell guest.sh where they are. */
export function buildModules(kernel: Kernel): string {
  const headers = headersOf(kernel)
  if (kernel.modulesRoot !== "/") return `tresor.modules=${buildAgainst(kernel.release, headers)}`
  alone("make", "-s", "-C", modules, `KDIR=${headers}`, "TESTS=m")
  return `tresor.modules=${modules}`
}

export interface Boot {
  readonly kernel: Kernel
  readonly parts: readonly string[]
  /** More words for the kernel's command line. */
  readonly words?: string
  readonly disks?: readonly Disk[]
  readonly seconds: number
}

/** Where the logs of a boot are. */
export const logs = ({ kernel, parts }: Boot): string => join(directory, kernel.release, parts[0] ?? "")

/** One boot. `onLine` sees every line of the guest as it comes. */
export async function boot(
  options: Boot,
  onLine: (line: string, machine: Machine) => void = () => undefined,
): Promise<Map<string, Result>> {
  const results = new Map<string, Result>()
  const pages = new Set<number>()
  let last: Result | undefined
  const { words = "", ...rest } = options
  const machine = { ...rest, kernelWords: words, cpu: CPU, memoryMib: 1024, directory: logs(options) }
  await Machine.run(machine, async (line, machine) => {
    onLine(line, machine)
    const report = /^(not )?ok (.*)$/.exec(line)
    if (report !== null) {
      last = { name: report[2] ?? "", passed: report[1] === undefined, notes: [] }
      results.set(last.name, last)
    } else if (line.startsWith("page ")) {
      pages.add(Number.parseInt(line.slice(5), 16))
    } else if (line.startsWith("ask dump ")) {
      const [control = "", guarded = ""] = line.split(" ").slice(2)
      const path = await machine.dumpMemory()
      const wrong = judge(path, Buffer.from(control, "hex"), Buffer.from(guarded, "hex"), pages)
      rmSync(path)
      pages.clear()
      return wrong ?? "ok"
    } else if (line.startsWith("# ")) {
      last?.notes.push(line.slice(2))
    }
    return undefined
  })
  return results
}

/** Names of all checks of a part, in order, read from its script: one that never reported has failed. */
function expected(part: string): string[] {
  const script = readFileSync(join(import.meta.dirname, "checks", `${part}.sh`), "utf8")
  return [...script.matchAll(/^\t*check "([^"]+)"/gm)].flatMap(([, name = ""]) =>
    name.includes("$sector") ? ["512", "4096"].map((size) => name.replace("$sector", size)) : [name],
  )
}

/** Every check of a boot is a test; `results` is asked when they run. */
export function testChecks(boot: Boot, results: () => Map<string, Result>): void {
  for (const name of boot.parts.flatMap(expected)) {
    test(name, () => {
      const result = results().get(name)
      assert.ok(result !== undefined, `no report; see guest.log and console.log in ${logs(boot)}`)
      assert.ok(result.passed, [`on Linux ${boot.kernel.release}`, ...result.notes].join("\n"))
    })
  }
}

if (process.argv[1] === import.meta.filename) {
  const options = { later: { type: "boolean" }, newest: { type: "boolean" } } as const
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const newest = values.newest === true ? newestKernel() : null
  const kernel = newest ?? (values.later === true ? laterKernel() : stockKernel())
  buildPrograms()
  await makeState()
  await makeOther()
  // The system's lists have no headers of the newest.
  const words = newest === null ? buildModules(kernel) : ""
  const results = await boot({ kernel, parts: positionals, words, seconds: 1700 }, (line) => {
    if (!line.startsWith("page ")) process.stdout.write(`${line}\n`)
  })
  process.exit(results.size > 0 && [...results.values()].every(({ passed }) => passed) ? 0 : 1)
}
