/**
 * The queues of addon/disk with faults in the place of the system: at every
 * submission and every completion in turn, at random, and one by one. Under ASan
 * with UBSan, and once more under TSan. addon/test/disk has the cases.
 */
import assert from "node:assert/strict"
import { test } from "node:test"
import { run } from "../cli/harness.ts"
import { KINDS, newFolder, newMemoryFolder, programOf, sanitized, succeeds } from "./programs.ts"

const folder = newFolder()
const memory = newMemoryFolder()
const cases = (await succeeds(programOf("asan"), "--list")).stdout.trimEnd().split("\n")

test("the program has cases, and fails for one that it does not have", async () => {
  assert.ok(cases.length > 30, cases.join("\n"))
  assert.equal((await run(programOf("asan"), [folder, memory, "no such case"])).code, 2)
})

for (const kind of KINDS) {
  for (const name of cases) {
    test(`${name} (${kind})`, async () => {
      const done = await run(programOf(kind), [folder, memory, name], { env: sanitized })
      assert.equal(done.code, 0, done.stderr)
    })
  }
}
