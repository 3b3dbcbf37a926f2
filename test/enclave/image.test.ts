/** The image that was built is the one that these sources and this compiler make, and the one that is pinned. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { checkPinned } from "../../src/enclave/image/build.ts"
import { PRODUCT, VECTORS } from "../../src/enclave/image/files.ts"
import { Place, root } from "../cli/harness.ts"

const place = new Place()

test("enclave/MRENCLAVE and enclave/vectors/MRENCLAVE pin what was built", () => {
  for (const files of [PRODUCT, VECTORS]) {
    const { compiler, pinned, measured } = checkPinned(root, files)
    assert.notEqual(pinned, null, `nothing is pinned for ${compiler}; add it to ${files.pins}: ${compiler} ${measured}`)
    assert.equal(measured, pinned, files.pins)
  }
})

test("the documents say how many lines are trusted, and these are no more than 6400", () => {
  const lines = execFileSync("make", ["-s", "-C", `${root}/enclave`, "lines"], { encoding: "utf8" })
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+) lines$`, "m").exec(lines)?.[1])
  const [logic, algorithms] = [figure("our logic"), figure("published algorithms")]
  assert.ok(logic + algorithms <= 6400, lines)
  assert.ok(logic > 1000 && algorithms > 1000, lines)
  const said = `${logic.toLocaleString("en")} lines of our logic and ${algorithms.toLocaleString("en")} of published algorithms`
  for (const path of ["README.md", "ARCHITECTURE.md", "docs/threat-model.md", "enclave/README.md"]) {
    assert.ok(readFileSync(`${root}/${path}`, "utf8").replace(/\s+/g, " ").includes(said), `${path}: ${said}`)
  }
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
  // What the power-on checks expect is data, and differs.
  const at = bytes.indexOf(Buffer.from("d8eb55055390a7482ee5002154bf9841", "hex"))
  assert.ok(at > 0)
  bytes[at]! ^= 1
  writeFileSync(changed, bytes)
  const other = await place.tresor(["enclave", "verify", "--source", "--image", changed])
  assert.equal(other.code, 1)
  assert.match(other.stdout + other.stderr, /is not these sources under gcc/)
})
