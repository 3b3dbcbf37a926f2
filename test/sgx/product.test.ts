/** Tresor on Linux's SGX driver, in the SGX machine: what people do with it, and what becomes of it. */
import { before, describe } from "node:test"
import { contract } from "../../src/testing/contract.ts"
import { type Boot, boot, type Outcome, testChecks } from "./checks.ts"
import { prepare, prepareOthers } from "./installations.ts"

const machine: Boot = {
  kind: { name: "SGX2", sgx2: true, epc: "128M" },
  parts: ["product", "losses", "succession", "refusals", "contract"],
}

describe("Tresor on Linux's SGX driver", () => {
  let outcome: Outcome
  before(async () => {
    const words = await prepare()
    await prepareOthers()
    outcome = await boot({ ...machine, words })
  })
  testChecks(
    machine,
    () => outcome,
    Object.keys(contract).map((name) => `contract: ${name}`),
  )
})
