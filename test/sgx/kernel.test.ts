/** Tresor on Linux's SGX driver, seen from the whole machine: its kernel module, its memory, its sleep. */
import { before, describe } from "node:test"
import { type Boot, boot, type Outcome, testChecks } from "./checks.ts"
import { prepare, prepareMemory, prepareModule } from "./installations.ts"

const machine: Boot = { kind: { name: "SGX2", sgx2: true, epc: "128M" }, parts: ["module", "memory", "sleep"] }

describe("Tresor on Linux's SGX driver, with the kernel's part", () => {
  let outcome: Outcome
  before(async () => {
    const words = await prepare()
    prepareMemory()
    outcome = await boot({ ...machine, words: `${words} ${prepareModule()}` })
  })
  testChecks(machine, () => outcome)
})
