/**
 * Boots the SGX machine with Debian's kernel, runs parts of checks/ in it and gathers what it reports.
 * By itself, for a part under work: node test/sgx/checks.ts [--sgx1] [--epc 32M] [--smp 4] PART...
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { parseArgs } from "node:util"
import { firmware, sgxMachine } from "../../scripts/sgx-machine.mjs"
import { stockKernel } from "../vm/kernels.ts"
import { Machine, root } from "../vm/machine.ts"
import { judgeMemory } from "./memory.ts"

/** A microcode update raises the first; the machine begins with the second. */
const CPUSVN = { newer: "06050204018006000000000000000000", older: "05050204018006000000000000000000" } as const
/** What the processor's fuses are made of. */
const SECRET = "test"

/** A processor and its EPC. */
export interface Kind {
  readonly name: string
  readonly sgx2: boolean
  readonly epc: string
}

export interface Boot {
  readonly kind: Kind
  readonly parts: readonly string[]
  /** More words for the kernel's command line. */
  readonly words?: string
  readonly processors?: number
}

export interface Outcome {
  /** By name: what was said when it failed; empty when it passed. */
  readonly results: ReadonlyMap<string, readonly string[]>
  readonly skipped: number
  /** Failures of no check: the kernel's own warnings. */
  readonly failures: readonly string[]
  /** How often each leaf was executed. */
  readonly counters: ReadonlyMap<string, number>
}

export const directoryOf = ({ kind, parts }: Boot): string =>
  join(root, "build", "sgx", `${kind.name.replaceAll(" ", "-")}-${parts[0] ?? ""}`)

const setProperty = (machine: Machine, property: string, value: unknown): Promise<unknown> =>
  machine.command("qom-set", { path: "/machine", property, value })

async function countersOf(machine: Machine): Promise<Map<string, number>> {
  const text = (await machine.command("qom-get", { path: "/machine", property: "sgx-counters" })) as string
  const rows = text.trim().split("\n")
  return new Map(rows.map((row) => row.split(" ")).map(([leaf = "", times = ""]) => [leaf, Number(times)]))
}

/** From S3, once it is there. */
async function wakeUp(machine: Machine): Promise<void> {
  for (;;) {
    const { status } = (await machine.command("query-status")) as { status: string }
    if (status === "suspended") break
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  await machine.command("system_wakeup")
}

/** What the guest may ask of its machine. */
const requests: Readonly<Record<string, (machine: Machine, words: readonly string[]) => Promise<string>>> = {
  async lose(machine) {
    await setProperty(machine, "sgx-epc-lost", true)
    return "lost"
  },
  async cpusvn(machine, [which = ""]) {
    await setProperty(machine, "sgx-cpusvn", CPUSVN[which as keyof typeof CPUSVN])
    return "set"
  },
  async secret(machine, [secret = ""]) {
    await setProperty(machine, "sgx-secret", secret)
    return "set"
  },
  async counter(machine, [leaf = ""]) {
    return `${(await countersOf(machine)).get(leaf) ?? 0}`
  },
  async sleep(machine) {
    // When the machine ends instead, the guest's check is what fails.
    wakeUp(machine).catch(() => undefined)
    return "good night"
  },
  memory: (machine, [control = "", first = "", last = ""]) => judgeMemory(machine, control, first, last),
}

/** `onLine` sees every line of the guest as it comes. */
export async function boot(options: Boot, onLine: (line: string) => void = () => undefined): Promise<Outcome> {
  const results = new Map<string, string[]>()
  const failures: string[] = []
  let skipped = 0
  let counters = new Map<string, number>()
  let notes: string[] = []
  await Machine.run(
    {
      kernel: stockKernel(),
      program: sgxMachine((text) => process.stderr.write(`${text}\n`)),
      arguments: [
        ...firmware.flatMap((each) => ["-L", each]),
        ...["-object", `memory-backend-epc,id=epc,size=${options.kind.epc},prealloc=off`],
        ...["-M", `pc,sgx-epc.0.memdev=epc,sgx-epc.0.node=0,sgx-secret=${SECRET},sgx-cpusvn=${CPUSVN.older}`],
      ],
      guest: "test/sgx/guest.sh",
      cpu: `max,vendor=GenuineIntel,family=6,model=106,stepping=6,-erms,-fsrm${options.kind.sgx2 ? "" : ",sgx2=off"}`,
      parts: options.parts,
      kernelWords: options.words ?? "",
      memoryMib: 1536,
      processors: options.processors ?? 2,
      seconds: 1500,
      directory: directoryOf(options),
    },
    async (line, machine) => {
      onLine(line)
      const [, what = "", rest = ""] = /^(ok|not ok|skip|ask|#) (.*)/.exec(line) ?? []
      if (what === "ok") {
        notes = []
        results.set(rest, [])
      } else if (what === "not ok") {
        notes = ["failed"]
        results.set(rest, notes)
        if (rest.startsWith("kernel: ")) failures.push(rest)
      } else if (what === "skip") skipped++
      else if (what === "#") {
        notes.push(rest)
        if (/ Expected /.test(rest)) failures.push(rest)
      } else if (what === "ask") {
        counters = await countersOf(machine)
        const [request = "", ...words] = rest.split(" ")
        return await (requests[request]?.(machine, words) ?? "go on")
      }
      return undefined
    },
  )
  return { results, skipped, failures, counters }
}

/** Names of all checks of a part, in order, read from its script: one that never reported has failed. */
function expected(part: string): string[] {
  const script = readFileSync(join(import.meta.dirname, "checks", `${part}.sh`), "utf8")
  return [...script.matchAll(/^\t*(?:check|reported) "([^"]+)"/gm)].map(([, name = ""]) => name)
}

/** Every check of a boot is a test, and `more` that programs name themselves; `outcome` is asked when they run. */
export function testChecks(boot: Boot, outcome: () => Outcome, more: readonly string[] = []): void {
  for (const name of [...boot.parts.flatMap(expected), ...more]) {
    test(name, () => {
      const notes = outcome().results.get(name)
      assert.ok(notes !== undefined, `no report; see guest.log and console.log in ${directoryOf(boot)}`)
      assert.equal(notes.length, 0, notes.join("\n"))
    })
  }
  test("the kernel warned of nothing", () => assert.deepEqual(outcome().failures, []))
}

if (process.argv[1] === import.meta.filename) {
  const options = { smp: { type: "string" }, sgx1: { type: "boolean" }, epc: { type: "string" } } as const
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const { prepare, prepareMemory, prepareModule, prepareOthers } = await import("./installations.ts")
  const { kernelSelftest } = await import("./kernel-selftest.ts")
  const words = [await prepare(), prepareModule(), `tresor.selftest=${kernelSelftest()}`].join(" ")
  await prepareOthers()
  prepareMemory()
  const kind = { name: "by hand", sgx2: values.sgx1 !== true, epc: values.epc ?? "128M" }
  const { results } = await boot({ kind, parts: positionals, words, processors: Number(values.smp ?? 2) }, (line) =>
    process.stdout.write(`${line}\n`),
  )
  // What the modules imported here wait for is not ours.
  process.exit(results.size > 0 && [...results.values()].every((notes) => notes.length === 0) ? 0 : 1)
}
