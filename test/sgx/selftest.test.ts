/** The SGX machine under Linux's own driver: the kernel's selftest, with SGX2 and without, with room and without; Tresor. */
import assert from "node:assert/strict"
import { join } from "node:path"
import { before, describe, test } from "node:test"
import { firmware, sgxMachine } from "../../scripts/sgx-machine.mjs"
import { stockKernel } from "../vm/kernels.ts"
import { Machine, root } from "../vm/machine.ts"
import { kernelSelftest } from "./selftest.ts"

interface Outcome {
  readonly passed: ReadonlySet<string>
  readonly skipped: number
  readonly failures: readonly string[]
  /** How often each leaf was executed. */
  readonly counters: ReadonlyMap<string, number>
}

interface Kind {
  readonly name: string
  /** Appended to -cpu. */
  readonly cpu: string
  readonly epc: string
}

async function countersOf(machine: Machine): Promise<Map<string, number>> {
  const text = (await machine.command("qom-get", { path: "/machine", property: "sgx-counters" })) as string
  return new Map(
    text
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([leaf = "", times = ""]) => [leaf, Number(times)]),
  )
}

async function boot(kind: Kind, parts: readonly string[], words: string): Promise<Outcome> {
  const passed = new Set<string>()
  const failures: string[] = []
  let skipped = 0
  let counters = new Map<string, number>()
  await Machine.run(
    {
      kernel: stockKernel(),
      program: sgxMachine((text) => process.stderr.write(`${text}\n`)),
      arguments: [
        ...firmware.flatMap((each) => ["-L", each]),
        ...["-object", `memory-backend-epc,id=epc,size=${kind.epc},prealloc=off`],
        ...["-M", "pc,sgx-epc.0.memdev=epc,sgx-epc.0.node=0,sgx-secret=test"],
      ],
      guest: "test/sgx/guest.sh",
      cpu: `max,vendor=GenuineIntel,family=6,model=106,stepping=6${kind.cpu}`,
      parts,
      kernelWords: words,
      memoryMib: 1536,
      seconds: 600,
      directory: join(root, "build", "sgx", kind.name.replaceAll(" ", "-")),
    },
    async (line, machine) => {
      const [, what = "", rest = ""] = /^(ok|not ok|skip|ask|#) (.*)/.exec(line) ?? []
      if (what === "ok") passed.add(rest)
      else if (what === "not ok" || (what === "#" && /Expected|error:/.test(rest))) failures.push(rest)
      else if (what === "skip") skipped++
      else if (rest === "cpusvn") {
        await machine.command("qom-set", { path: "/machine", property: "sgx-cpusvn", value: newerCpusvn })
        return "go on"
      } else if (what === "ask") {
        counters = await countersOf(machine)
        return "go on"
      }
      return undefined
    },
  )
  return { passed, skipped, failures, counters }
}

/** A microcode update: the machine begins with 05050204018006 and zeros. */
const newerCpusvn = "06050204018006000000000000000000"

/** The kernel's 16 and our 5. */
const all = 21
/** Of the kernel's: those that need SGX2. */
const needSgx2 = 10

const kinds: readonly Kind[] = [
  { name: "SGX2", cpu: "", epc: "128M" },
  { name: "SGX2 in a small EPC", cpu: "", epc: "24M" },
  { name: "SGX1 in a small EPC", cpu: ",sgx2=off", epc: "24M" },
]

for (const kind of kinds) {
  describe(kind.name, () => {
    const sgx2 = kind.cpu === ""
    let outcome: Outcome
    before(async () => {
      outcome = await boot(kind, ["selftest"], `tresor.selftest=${kernelSelftest()}`)
    })

    test("the kernel's selftest passes on the kernel's driver", () => {
      assert.deepEqual(outcome.failures, [])
      assert.equal(outcome.passed.size, sgx2 ? all : all - needSgx2)
      assert.equal(outcome.skipped, sgx2 ? 0 : needSgx2)
    })

    test("pages were evicted and reloaded", () => {
      for (const leaf of ["EPA", "EBLOCK", "ETRACK", "EWB", "ELDU"]) {
        assert.ok((outcome.counters.get(leaf) ?? 0) > 0, `${leaf} was never executed`)
      }
    })

    test(sgx2 ? "SGX2's leaves were executed" : "SGX2's leaves were not executed", () => {
      for (const leaf of ["EAUG", "EMODPR", "EMODT", "EACCEPT", "EMODPE"]) {
        assert.equal((outcome.counters.get(leaf) ?? 0) > 0, sgx2, leaf)
      }
    })
  })
}

describe("Tresor on Linux's SGX driver", () => {
  const steps = [
    "doctor finds SGX",
    "selftest on sgx",
    "create on sgx",
    "open on sgx",
    "status says sgx",
    "lock",
    "setkey",
    "close",
    "open after a microcode update",
    "close after a microcode update",
  ]
  let outcome: Outcome
  before(async () => {
    outcome = await boot({ name: "product", cpu: "", epc: "128M" }, ["product"], "")
  })

  for (const step of steps) {
    test(step, () => {
      assert.ok(outcome.passed.has(step), outcome.failures.join("\n"))
    })
  }

  test("keys came from the processor", () => {
    assert.ok((outcome.counters.get("EGETKEY") ?? 0) > 0)
  })
})
