/** Tresor on Linux's SGX driver, on a processor without SGX2 and with less EPC than one enclave takes. */
import assert from "node:assert/strict"
import { before, describe, test } from "node:test"
import { type Boot, boot, type Outcome, testChecks } from "./checks.ts"
import { prepare, prepareModule } from "./installations.ts"

const machine: Boot = { kind: { name: "SGX1", sgx2: false, epc: "32M" }, parts: ["paging"], processors: 4 }

describe("Tresor on Linux's SGX driver, with everything paged", () => {
  let outcome: Outcome
  before(async () => {
    outcome = await boot({ ...machine, words: `${await prepare()} ${prepareModule()}` })
  })
  testChecks(machine, () => outcome)

  test("without SGX2 none of its leaves was executed", () => {
    for (const leaf of ["EAUG", "EMODPR", "EMODT", "EACCEPT"]) assert.equal(outcome.counters.get(leaf), 0, leaf)
  })
})
