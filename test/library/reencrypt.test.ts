/** A new volume key from a program: who opens the volume afterwards, and what is refused. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { create, keyslots, open, reencrypt } from "../../src/index.ts"
import { Place, run } from "../cli/harness.ts"

const place = new Place()
Object.assign(process.env, place.env)

const text = (words: string) => new TextEncoder().encode(words)
const CHEAP = { kdf: { type: "pbkdf2", iterations: 1000 } } as const
const wiped = (secret: Uint8Array) => secret.every((byte) => byte === 0)

test("only the passphrases given to reencrypt open the volume afterwards, and the data stay", async () => {
  const path = place.path("moved.img")
  await create(path, { size: 32n << 20n, passphrase: text("first"), recovery: false, ...CHEAP })
  const slots = await keyslots(path)
  for (const fresh of ["carried", "left behind"])
    await slots.add({ existing: text("first"), fresh: text(fresh), portable: true, ...CHEAP })
  const data = randomBytes(1 << 20)
  {
    await using volume = await open(path, { passphrase: text("first") })
    await volume.write(0, data)
    await volume.flush()
  }
  const [passphrase, carried] = [text("first"), text("carried")]
  const { done, dropped } = await reencrypt(path, { passphrase, carry: [carried], keySize: 256, ...CHEAP })
  assert.deepEqual([done, dropped, wiped(passphrase), wiped(carried)], [true, [0, 1, 2], true, true])
  assert.deepEqual(
    (await slots.list()).map(({ kind }) => kind),
    ["tresor", "portable"],
  )
  await assert.rejects(slots.test(text("left behind")), { code: "ENCLAVE_PASSPHRASE" })
  for (const words of ["first", "carried"]) {
    await using volume = await open(path, { passphrase: text(words) })
    assert.ok(data.equals(await volume.read(0, data.length)))
  }
  const dump = await run("cryptsetup", ["luksDump", path])
  assert.match(dump.stdout, /^\tKey: +256 bits$/m)
})

test("reencrypt refuses a wrong passphrase, an open volume and an encryption that is pending", async () => {
  const path = place.path("refused.img")
  await create(path, { size: 32n << 20n, passphrase: text("first"), recovery: false, ...CHEAP })
  const wrong = text("wrong")
  await assert.rejects(reencrypt(path, { passphrase: wrong }), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  assert.ok(wiped(wrong))
  {
    await using volume = await open(path, { passphrase: text("first") })
    await assert.rejects(reencrypt(path, { passphrase: text("first") }), { exitCode: 5 })
    assert.equal((await volume.read(0, 512)).length, 512)
  }
  const [plain, header] = [place.file("plain.img", randomBytes(8 << 20)), place.path("plain.header")]
  const words = ["reencrypt", "--encrypt", "--init-only", "-q", "--type", "luks2", "--header", header]
  const key = ["--key-file", place.file("key", "first"), "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const begun = await run("cryptsetup", [...words, ...key, plain])
  assert.equal(begun.code, 0, begun.stderr)
  await assert.rejects(reencrypt(plain, { header, passphrase: text("first") }), { code: "REENCRYPT_PENDING" })
})
