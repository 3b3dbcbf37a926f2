/**
 * The kernel module in a virtual machine: one boot, every line the guest
 * reports is a test of its own. The logs stay under build/vm.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { before, describe, test } from "node:test"
import { boot, build, directory, type Result } from "./checks.ts"
import { scheduleStart } from "./memory.ts"

const parts = ["module", "mapping", "product", "tresortest", "fuzz", "memory", "faults"]
const sectors = ["512", "4096"]

/** Names of all checks, in order, read from the scripts: one that never reported has failed. */
function expected(): string[] {
  const named = parts.flatMap((part) => {
    const script = readFileSync(join(import.meta.dirname, "checks", `${part}.sh`), "utf8")
    return [...script.matchAll(/^\t*check "([^"]+)"/gm)].map(([, name = ""]) => name)
  })
  return named.flatMap((name) =>
    name.includes("$sector") ? sectors.map((size) => name.replace("$sector", size)) : [name],
  )
}

test("a key schedule starts as FIPS 197 says", () => {
  const key = Buffer.from("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "hex")
  const start = scheduleStart(key)
  assert.equal(start.subarray(32, 48).toString("hex"), "9ba354118e6925afa51a8b5f2067fcde")
  assert.equal(start.subarray(48, 64).toString("hex"), "a8b09c1a93d194cdbe49846eb75d5b9a")
})

describe("tresor.ko on Debian's kernel", () => {
  let results: Map<string, Result>
  before(async () => {
    build()
    results = await boot(parts, 1700)
  })
  for (const name of expected()) {
    test(name, () => {
      const result = results.get(name)
      assert.ok(result !== undefined, `no report; see ${join(directory, "guest.log")} and console.log`)
      assert.ok(result.passed, result.notes.join("\n"))
    })
  }
})
