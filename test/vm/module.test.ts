/** The kernel module in a virtual machine, with a daemon of known keys: its cipher, deaths, faults, fuzzing. */
import { before, describe } from "node:test"
import { type Boot, boot, buildModules, buildPrograms, type Result, testChecks } from "./checks.ts"
import { stockKernel } from "./kernels.ts"

const machine: Boot = { kernel: stockKernel(), parts: ["module", "mapping", "fuzz", "faults"], seconds: 1700 }

describe(`tresor.ko on Debian's Linux ${machine.kernel.release}`, () => {
  let results: Map<string, Result>
  before(async () => {
    buildPrograms()
    results = await boot({ ...machine, words: buildModules(machine.kernel) })
  })
  testChecks(machine, () => results)
})
