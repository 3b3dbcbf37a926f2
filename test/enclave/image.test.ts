/** The image that was built is the one that these sources and this compiler make, and the one that is pinned. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { checkPinned } from "../../src/enclave/image/build.ts"
import { Place, root } from "../cli/harness.ts"

const place = new Place()

test("enclave/MRENCLAVE pins what was built", () => {
  const { compiler, pinned, measured } = checkPinned(root)
  assert.notEqual(pinned, null, `nothing is pinned for ${compiler}; add it: ${compiler} ${measured}`)
  assert.equal(measured, pinned)
})

test("CHANGELOG.md names the MRENCLAVE that is pinned", () => {
  const { measured } = checkPinned(root)
  assert.ok(readFileSync(`${root}/CHANGELOG.md`, "utf8").includes(measured), measured)
})

test("other directories, times and umasks make the same bytes", () => {
  execFileSync("make", ["-s", "-C", `${root}/enclave`, "reproduce"])
})

test("enclave verify --source tells the shipped image from one that was changed", async () => {
  const same = await place.tresor(["enclave", "verify", "--source"])
  assert.deepEqual([same.code, same.stderr], [0, ""])
  assert.match(same.stdout, /is these sources: MRENCLAVE [0-9a-f]{64}/)
  const changed = place.path("changed.elf")
  copyFileSync(`${root}/enclave/build/tresor.elf`, changed)
  const bytes = readFileSync(changed)
  // The selftest's vectors are data: one of them differs, and nothing else would notice.
  const at = bytes.indexOf(Buffer.from("00112233445566778899aabbccddeeff", "hex"))
  assert.ok(at > 0)
  bytes[at]! ^= 1
  writeFileSync(changed, bytes)
  const other = await place.tresor(["enclave", "verify", "--source", "--image", changed])
  assert.equal(other.code, 1)
  assert.match(other.stdout + other.stderr, /is not these sources under gcc/)
})
