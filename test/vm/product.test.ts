/** The product over the kernel module in a virtual machine: the flows of 2016, volumes, where keys are in memory. */
import assert from "node:assert/strict"
import { before, describe, test } from "node:test"
import { type Boot, boot, buildModules, buildPrograms, makeState, type Result, testChecks } from "./checks.ts"
import { stockKernel } from "./kernels.ts"
import { scheduleStart } from "./memory.ts"

test("a key schedule starts as FIPS 197 says", () => {
  const key = Buffer.from("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "hex")
  const start = scheduleStart(key)
  assert.equal(start.subarray(32, 48).toString("hex"), "9ba354118e6925afa51a8b5f2067fcde")
  assert.equal(start.subarray(48, 64).toString("hex"), "a8b09c1a93d194cdbe49846eb75d5b9a")
})

const machine: Boot = { kernel: stockKernel(), parts: ["product", "tresortest", "memory"], seconds: 1700 }

describe(`the product on Debian's Linux ${machine.kernel.release}`, () => {
  let results: Map<string, Result>
  before(async () => {
    buildPrograms()
    await makeState()
    results = await boot({ ...machine, words: buildModules(machine.kernel) })
  })
  testChecks(machine, () => results)
})
