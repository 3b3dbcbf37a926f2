import assert from "node:assert/strict"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import * as abi from "../abi/enclave.ts"
import { decode, encode } from "../abi/struct.ts"
import { installed } from "../base/installation.ts"
import { loadEnclave } from "../testing/native.ts"
import { real } from "../testing/real-image.ts"
import { testKey } from "../testing/rsa-keys.ts"
import { PRODUCT } from "./image/files.ts"
import { signWith } from "./image/keys.ts"
import { type KeptImage, keepImage, keptFor, keptImages, readKept } from "./kept-images.ts"
import { openEnclave, openPredecessor, startPredecessor } from "./loader.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-kept-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const built = {
  image: readFileSync(installed(PRODUCT.image)),
  conf: readFileSync(installed(PRODUCT.conf), "utf8"),
  sigstruct: readFileSync(installed(PRODUCT.sigstruct)),
}
const parts = ({ mrenclave, mrsigner, isvProdId, isvSvn }: Omit<KeptImage, "folder" | "sigstruct">) => ({
  mrenclave,
  mrsigner,
  isvProdId,
  isvSvn,
})
let places = 0
const place = () => join(folder, String(++places))

test("an image is kept once, is read back, and starts", async () => {
  const state = place()
  assert.deepEqual(keptImages([state]), [])
  keepImage(state, built)
  keepImage(state, built)
  const [kept, ...more] = keptImages([state])
  assert.deepEqual(more, [])
  await using enclave = await openPredecessor(kept!, { backend: "software", stateDir: state })
  const { mrenclave, mrsigner, isvProdId, isvSvn } = enclave!.identity
  assert.deepEqual({ mrenclave, mrsigner, isvProdId, isvSvn }, parts(kept!))
})

test("what is not kept whole, or is another image, is none", () => {
  const state = place()
  const other = "ab".repeat(32)
  const folder = join(state, "enclaves", other)
  mkdirSync(folder, { recursive: true })
  assert.deepEqual(keptImages([state]), [])
  for (const sigstruct of [built.sigstruct, Buffer.from("none")]) {
    writeFileSync(join(folder, "tresor.sigstruct"), sigstruct)
    assert.deepEqual(keptImages([state]), [])
  }
  keepImage(state, built)
  const [kept] = keptImages([state])
  for (const changed of [Buffer.from("no image"), Buffer.concat([built.image.subarray(0, 8192), Buffer.alloc(1)])]) {
    writeFileSync(join(kept!.folder, "tresor.elf"), changed)
    assert.equal(readKept(kept!), null)
  }
})

test("a seal finds its image by what its policy names, in every place", () => {
  const [near, far] = [place(), place()]
  const key = testKey()
  const resigned = { ...built, sigstruct: signWith(key, built.sigstruct) }
  keepImage(near, built)
  keepImage(near, resigned)
  keepImage(far, resigned, true)
  const [ours] = keptImages([near])
  const theirs = keptImages([far]).find(({ mrsigner }) => mrsigner !== ours!.mrsigner)!
  assert.deepEqual(keptImages([near]), [ours], "another signature of a kept image is kept when it is needed only")
  const sealer = { ...parts(ours!), policy: "mrenclave" as "mrenclave" | "mrsigner", slot: 0, uuid: "" }
  const find = (change: Partial<typeof sealer>, places = [near, far]) => keptFor(places, { ...sealer, ...change })
  assert.deepEqual(find({}), ours)
  assert.deepEqual(find({ mrsigner: theirs.mrsigner }), ours)
  assert.equal(find({ mrenclave: "ab".repeat(32) }), null)
  const forSigner = { policy: "mrsigner", mrsigner: theirs.mrsigner } as const
  assert.equal(find(forSigner, [near]), null)
  assert.deepEqual(parts(find(forSigner)!), parts(theirs))
  assert.deepEqual(parts(find({ ...forSigner, mrenclave: "ab".repeat(32) })!), parts(theirs), "an earlier image's seal")
  assert.equal(find({ ...forSigner, isvSvn: sealer.isvSvn + 1 }), null)
  assert.equal(find({ ...forSigner, isvProdId: 2 }), null)
})

test("a kept enclave of another version's interface is refused by its HELLO, in words", async () => {
  const native = loadEnclave(real())
  native.init(real().sigstruct, real().image.encluSite)
  // The same to the enclave as a host of the next version.
  const newer = new Proxy({} as typeof native, {
    get(_, name) {
      if (name !== "enterAsync") {
        const value: unknown = Reflect.get(native, name, native)
        return typeof value === "function" ? value.bind(native) : value
      }
      return (bytes: Uint8Array) => {
        encode(abi.hello, { ...decode(abi.hello, bytes), abi_version: abi.ABI_VERSION + 1 }, bytes)
        return native.enterAsync(bytes)
      }
    },
  })
  await assert.rejects(startPredecessor(newer, "software", { mrenclave: "ab".repeat(32) }), {
    code: "PREDECESSOR_VERSION",
    exitCode: 2,
    message: /^Cannot use the kept enclave abababababababab…: its interface is another version's; .*tresor recover/,
  })
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
