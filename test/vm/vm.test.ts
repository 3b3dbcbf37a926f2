/**
 * The kernel module in a virtual machine: one boot, every line the guest
 * reports is a test of its own. The console log stays under build/vm.
 */
import assert from "node:assert/strict"
import { mkdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { before, describe, test } from "node:test"
import { Machine, newestKernel, root, run } from "./machine.ts"
import { judge, scheduleStart } from "./memory.ts"

const directory = join(root, "build", "vm")
const parts = ["module", "mapping", "fuzz", "memory"]

interface Result {
  readonly name: string
  readonly passed: boolean
  readonly notes: string[]
}

/** Names of all checks, in order, read from the scripts: one that never reported has failed. */
function expected(): string[] {
  return parts.flatMap((part) =>
    [...readFileSync(join(import.meta.dirname, "checks", `${part}.sh`), "utf8").matchAll(/^\t*check "([^"]+)"/gm)].flatMap(
      ([, name = ""]) => (name.includes("$sector") ? ["512", "4096"].map((sector) => name.replace("$sector", sector)) : [name]),
    ),
  )
}

function build(): void {
  mkdirSync(directory, { recursive: true })
  run("make", ["-s", "-C", join(root, "kernel"), `KDIR=/lib/modules/${newestKernel()}/build`])
  for (const [name, libraries] of [
    ["ringd", ["-lcrypto", "-lpthread"]],
    ["kfuzz", ["-lpthread"]],
  ] as const) {
    const flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", `-I${root}`]
    run("gcc", [...flags, "-o", join(directory, name), join(import.meta.dirname, `${name}.c`), ...libraries])
  }
}

async function boot(): Promise<Map<string, Result>> {
  const results = new Map<string, Result>()
  const pages = new Set<number>()
  let last: Result | undefined
  await Machine.run({ parts, memoryMib: 768, seconds: 900, directory }, async (line, machine) => {
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
      return wrong ?? "ok"
    } else if (line.startsWith("# ")) {
      last?.notes.push(line.slice(2))
    }
    return undefined
  })
  return results
}

test("a key schedule starts as FIPS 197 says", () => {
  const start = scheduleStart(Buffer.from("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "hex"))
  assert.equal(start.subarray(32, 48).toString("hex"), "9ba354118e6925afa51a8b5f2067fcde")
  assert.equal(start.subarray(48, 64).toString("hex"), "a8b09c1a93d194cdbe49846eb75d5b9a")
})

describe("tresor.ko on Debian's kernel", () => {
  let results: Map<string, Result>
  before(async () => {
    build()
    results = await boot()
  })
  for (const name of expected()) {
    test(name, () => {
      const result = results.get(name)
      assert.ok(result !== undefined, `no report; see ${join(directory, "console.log")}`)
      assert.ok(result.passed, result.notes.join("\n"))
    })
  }
})
