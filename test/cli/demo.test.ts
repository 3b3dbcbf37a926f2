import assert from "node:assert/strict"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { test } from "node:test"
import { Place, until } from "./harness.ts"

const place = new Place()
const scratch = place.path("tmp")
mkdirSync(scratch)

/** tresord processes whose arguments name our scratch folder. */
function daemons(): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(scratch)
      } catch {
        return false
      }
    })
}

test("demo tells the story, and leaves no process and no file", async () => {
  const { code, stdout, stderr } = await place.tresor(["demo"], { env: { TMPDIR: scratch } })
  assert.equal(code, 0, stderr)
  assert.equal(stderr, "")
  assert.match(stdout, /plaintext/i)
  assert.match(stdout, /on disk/i)
  assert.match(stdout, /protected/i)
  assert.match(stdout, /software|sgx/)
  assert.ok(!stdout.includes("\x1b"), "no colours without a terminal")
  assert.deepEqual(readdirSync(scratch), [])
  assert.deepEqual(daemons(), [])
})

for (const moment of ["Tresor:", "created"]) {
  test(`demo interrupted after "${moment}" leaves no process and no file`, async () => {
    const result = await place.typed(["demo"], [[moment, "^C"]], { TMPDIR: scratch })
    assert.equal(result.code, 130, result.stdout)
    await until("its daemon is gone", () => daemons().length === 0)
    assert.deepEqual(readdirSync(scratch), [])
  })
}
