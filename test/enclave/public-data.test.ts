/** `tresor enclave` on what others signed and measured, and on ours. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { onPublishedData, SGX_DATA } from "../../src/testing/sgx-data.ts"
import { Place, root } from "../cli/harness.ts"

const place = new Place()
const signed = ["fortanix_sig1", "intel_le_prod"].map((name) => `sigstruct/${name}.sigstruct.bin`)

test("measure prints the MRENCLAVE of somebody else's SGXS stream", onPublishedData, async () => {
  const stream = join(SGX_DATA, "sgxs/fortanix_report.sgxs")
  const { code, stdout } = await place.tresor(["enclave", "measure", stream])
  assert.equal(code, 0)
  assert.match(stdout, /^a06a560b[0-9a-f]{52}2290\n$/)
  const json = JSON.parse((await place.tresor(["enclave", "measure", "--json", stream])).stdout)
  assert.equal(`${json.mrenclave}\n`, stdout)
  for (const field of ["size", "pages", "heap", "threads"]) assert.equal(typeof json[field], "number", field)
})

test("measure prints the MRENCLAVE of our image", async () => {
  const ours = await place.tresor(["enclave", "measure", join(root, "enclave/build/tresor.elf")])
  assert.ok(readFileSync(join(root, "enclave/MRENCLAVE"), "utf8").includes(ours.stdout.trim()))
})

for (const name of signed) {
  test(`verify accepts ${name} and names the check that a change breaks`, onPublishedData, async () => {
    const path = join(SGX_DATA, name)
    assert.equal((await place.tresor(["enclave", "verify", "--sigstruct", path])).code, 0)
    // Offsets by SDM table 38-21: header, exponent, signature, attributes, q1, q2.
    for (const [at, check] of [
      [0, "header"],
      [512, "exponent"],
      [516, "signature"],
      [928, "signature"],
      [1040, "q1"],
      [1424, "q2"],
    ] as const) {
      const bytes = readFileSync(path)
      bytes[at]! ^= 1
      const changed = place.file("changed", bytes)
      const { code, stdout } = await place.tresor(["enclave", "verify", "--sigstruct", changed, "--json"])
      assert.deepEqual([code, JSON.parse(stdout).failed], [1, check], `byte ${at}`)
    }
  })
}

test("verify tells a SIGSTRUCT of another image", async () => {
  const image = join(root, "enclave/build/tresor.elf")
  const own = join(root, "enclave/build/tresor.sigstruct")
  assert.equal((await place.tresor(["enclave", "verify", "--sigstruct", own, "--image", image])).code, 0)
  const bytes = readFileSync(image)
  bytes[Math.floor(bytes.length / 3)]! ^= 1
  const conf = ["--conf", join(root, "enclave/enclave.conf")]
  const another = ["--image", place.file("another.elf", bytes), ...conf]
  const other = await place.tresor(["enclave", "verify", "--sigstruct", own, ...another])
  assert.equal(other.code, 1)
  assert.match(other.stderr, /refused by the hash check \(EINIT error 4\)/)
})

test("what is neither an image nor a stream is named as such: exit 4", async () => {
  for (const content of ["", "ECREATE"]) {
    const { code, stderr } = await place.tresor(["enclave", "measure", place.file("junk", content)])
    assert.equal(code, 4)
    assert.match(stderr, /^tresor: error: Cannot measure [^\n]+\n$/)
  }
})
