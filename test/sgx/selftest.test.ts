/** The SGX machine under Linux's own driver: the kernel's selftest, with SGX2 and without, with room and without. */
import assert from "node:assert/strict"
import { before, describe, test } from "node:test"
import { boot, type Kind, type Outcome } from "./checks.ts"
import { kernelSelftest } from "./kernel-selftest.ts"

/** The kernel's 16 and our 5. */
const all = 21
/** Of the kernel's: those that need SGX2. */
const needSgx2 = 10

const kinds: readonly Kind[] = [
  { name: "SGX2", sgx2: true, epc: "128M" },
  { name: "SGX2 in a small EPC", sgx2: true, epc: "24M" },
  { name: "SGX1 in a small EPC", sgx2: false, epc: "24M" },
]

for (const kind of kinds) {
  describe(kind.name, () => {
    let outcome: Outcome
    // Which pages a full EPC loses is the kernel's choice: now and then none of them is touched again.
    before(async () => {
      for (let boots = 0; boots < 3; boots++) {
        outcome = await boot({ kind, parts: ["selftest"], words: `tresor.selftest=${kernelSelftest()}` })
        const failed = outcome.failures.length > 0 || [...outcome.results.values()].some((notes) => notes.length > 0)
        if (failed || (outcome.counters.get("ELDU") ?? 0) > 0) return
      }
    })

    test("the kernel's selftest passes on the kernel's driver", () => {
      const failed = [...outcome.results].filter(([, notes]) => notes.length > 0)
      assert.deepEqual([...failed, ...outcome.failures], [])
      assert.equal(outcome.results.size, kind.sgx2 ? all : all - needSgx2)
      assert.equal(outcome.skipped, kind.sgx2 ? 0 : needSgx2)
    })

    test("pages were evicted and reloaded", () => {
      for (const leaf of ["EPA", "EBLOCK", "ETRACK", "EWB", "ELDU"]) {
        assert.ok((outcome.counters.get(leaf) ?? 0) > 0, `${leaf} was never executed`)
      }
    })

    test(kind.sgx2 ? "SGX2's leaves were executed" : "SGX2's leaves were not executed", () => {
      for (const leaf of ["EAUG", "EMODPR", "EMODT", "EACCEPT", "EMODPE"]) {
        assert.equal((outcome.counters.get(leaf) ?? 0) > 0, kind.sgx2, leaf)
      }
    })
  })
}
