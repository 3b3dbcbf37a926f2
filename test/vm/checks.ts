/**
 * Boots a machine, runs parts of checks/ in it and gathers what it reports.
 * By itself, for a part under work: node_modules/.bin/node test/vm/checks.ts PART...
 */
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Machine, newestKernel, root, run } from "./machine.ts"
import { judge } from "./memory.ts"

export const directory = join(root, "build", "vm")

export interface Result {
  readonly name: string
  readonly passed: boolean
  readonly notes: string[]
}

/** The module and the programs the checks use. */
export function build(): void {
  mkdirSync(directory, { recursive: true })
  // What the guest's tresord is: the programs as they are bundled.
  run("node", [join(root, "scripts/build.mjs")])
  run("make", ["-s", "-C", join(root, "kernel"), `KDIR=/lib/modules/${newestKernel()}/build`, "TESTS=m"])
  for (const [name, libraries] of [
    ["ringd", ["-lcrypto", "-lpthread"]],
    ["kfuzz", ["-lpthread"]],
    ["kfault", ["-lpthread"]],
  ] as const) {
    const flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", `-I${root}`]
    run("gcc", [...flags, "-o", join(directory, name), join(import.meta.dirname, `${name}.c`), ...libraries])
  }
}

/** One boot. `onLine` sees every line of the guest as it comes. */
export async function boot(
  parts: readonly string[],
  seconds: number,
  onLine: (line: string) => void = () => undefined,
): Promise<Map<string, Result>> {
  const results = new Map<string, Result>()
  const pages = new Set<number>()
  let last: Result | undefined
  await Machine.run({ parts, memoryMib: 1024, seconds, directory }, async (line, machine) => {
    onLine(line)
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

if (process.argv[1] === import.meta.filename) {
  build()
  const results = await boot(process.argv.slice(2), 1200, (line) => {
    if (!line.startsWith("page ")) process.stdout.write(`${line}\n`)
  })
  process.exit([...results.values()].every(({ passed }) => passed) ? 0 : 1)
}
