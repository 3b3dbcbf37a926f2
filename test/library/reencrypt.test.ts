/** A new volume key from a program: who opens the volume afterwards, and what is refused. */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { HeaderStore } from "../../src/header/header-store.ts"
import { create, keyslots, open, reencrypt } from "../../src/index.ts"
import { decodeHeader } from "../../src/luks2/header.ts"
import { reencryptionOf } from "../../src/luks2/reencryption.ts"
import { withState } from "../../src/luks2/reencryption-header.ts"
import { placed, positionOf } from "../../src/luks2/reencryption-position.ts"
import { NbdClient } from "../../src/nbd/index.ts"
import { MemoryStore } from "../../src/store/memory-store.ts"
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

/** A copy whose header says that the next sector is being converted. */
async function inZone(path: string): Promise<string> {
  const bytes = readFileSync(path)
  const store = await HeaderStore.open(new MemoryStore(bytes))
  await store.update(
    async (header) => {
      const pending = reencryptionOf(header.metadata)!
      const where = positionOf(header.metadata, pending)
      assert.ok(typeof where !== "string")
      const [position, hot, { size }] = [where.position, 4096n, pending.state!] as const
      const behind = Number(pending.previous.offset + position + hot)
      const probe = createHash("sha256")
        .update(bytes.subarray(behind, behind + pending.previous.sectorSize))
        .digest()
      const metadata = placed(header.metadata, pending, { position, hot }, size)
      return { header: { ...header, metadata: withState(metadata, { ...pending.state!, probe }) } }
    },
    { reencrypts: true },
  )
  return place.file("zone.img", bytes)
}

test("open unlocks a volume whose reencryption is pending by both keys, and what is written then stays", async () => {
  const path = place.path("pending.img")
  await create(path, { size: 32n << 20n, passphrase: text("first"), recovery: false, ...CHEAP })
  const data = randomBytes(8 << 20)
  {
    await using volume = await open(path, { passphrase: text("first") })
    await volume.write(0, data)
  }
  const halfway = new AbortController()
  const onProgress = () => halfway.abort()
  const words = { hotZone: 2 << 20, signal: halfway.signal, onProgress, ...CHEAP }
  assert.equal((await reencrypt(path, { passphrase: text("first"), ...words })).done, false)
  const stateOf = async () => reencryptionOf((await decodeHeader(readFileSync(path).subarray(0, 16 << 20))).metadata)
  const probed = async () => (await stateOf())!.state!.probe.some((byte) => byte !== 0)
  assert.ok(await probed())

  await assert.rejects(open(path, { passphrase: text("wrong") }), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  await assert.rejects(open(path, { passphrase: text("first"), keySlot: 1 }), {
    code: "REENCRYPT_PENDING",
    exitCode: 1,
  })
  {
    await using volume = await open(path, { passphrase: text("first"), readOnly: true })
    assert.ok(data.equals(await volume.read(0, data.length)))
  }
  await assert.rejects(open(await inZone(path), { passphrase: text("first"), readOnly: true }), {
    code: "REENCRYPT_PENDING",
    exitCode: 4,
  })
  const socket = place.path("pending.sock")
  const volume = await open(path, { passphrase: text("first") })
  assert.equal(volume.keySlot, 1)
  assert.ok(data.equals(await volume.read(0, data.length)))
  assert.ok(!(await probed()), "the header is bound to data that change")
  await volume.serve(socket)
  await using client = await NbdClient.connect(socket)
  // Across the position, by its own hands and by a client.
  for (const [at, write] of [
    [(2 << 20) - 3000, (bytes: Uint8Array, at: number) => volume.write(at, bytes)],
    [(2 << 20) + 70000, (bytes: Uint8Array, at: number) => client.write(at, bytes)],
  ] as const) {
    const bytes = randomBytes(6000)
    bytes.copy(data, at)
    await write(bytes, at)
  }
  await volume.close()
  await assert.rejects(volume.read(0, 1), { code: "ESHUTDOWN" })
  assert.ok(await probed(), "the header is not bound to the data again")

  const { done, dropped } = await reencrypt(path, { passphrase: text("first") })
  assert.deepEqual([done, dropped], [true, [0]])
  await using after = await open(path, { passphrase: text("first") })
  assert.ok(data.equals(await after.read(0, data.length)))
})
