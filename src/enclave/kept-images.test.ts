import assert from "node:assert/strict"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { installed } from "../base/installation.ts"
import { PRODUCT } from "./image/files.ts"
import { keepImage, keptIdentity, keptImages, readKept } from "./kept-images.ts"
import { openEnclave, openPredecessor } from "./loader.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-kept-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const built = {
  image: readFileSync(installed(PRODUCT.image)),
  conf: readFileSync(installed(PRODUCT.conf), "utf8"),
  sigstruct: readFileSync(installed(PRODUCT.sigstruct)),
}
let places = 0
const place = () => join(folder, String(++places))

test("an image is kept once, is read back, and starts", async () => {
  const state = place()
  assert.deepEqual(keptImages(state), [])
  keepImage(state, built)
  keepImage(state, built)
  const [mrenclave, ...more] = keptImages(state)
  assert.deepEqual(more, [])
  assert.equal(keptIdentity(state, mrenclave!)?.mrenclave, mrenclave)
  await using enclave = await openPredecessor(mrenclave!, { backend: "software", stateDir: state })
  assert.equal(enclave?.identity.mrenclave, mrenclave)
})

test("what is not kept whole, or is another image, is none", () => {
  const state = place()
  const other = "ab".repeat(32)
  mkdirSync(join(state, "enclaves", other), { recursive: true })
  assert.deepEqual([keptImages(state), readKept(state, other), keptIdentity(state, other)], [[], null, null])
  keepImage(state, built)
  const [mrenclave] = keptImages(state)
  for (const changed of [Buffer.from("no image"), Buffer.concat([built.image.subarray(0, 8192), Buffer.alloc(1)])]) {
    writeFileSync(join(state, "enclaves", mrenclave!, "tresor.elf"), changed)
    assert.equal(readKept(state, mrenclave!), null)
  }
})

test("an enclave starts where its image cannot be kept", async () => {
  const state = place()
  mkdirSync(state, { mode: 0o700 })
  // A file in the place of the folder: refused to root, too.
  writeFileSync(join(state, "enclaves"), "")
  chmodSync(join(state, "enclaves"), 0o400)
  await using enclave = await openEnclave({ backend: "software", stateDir: state })
  assert.ok(enclave.alive)
})
