/** What tresord writes into a header by itself: the resealed salt, also if a copy is broken. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { makeVolume, writeVolume } from "../keyslots/create.ts"
import type { TresorToken } from "../luks2/tresor-token.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { FakeEnclave } from "../testing/fake-enclave.ts"
import { openHeader } from "./access.ts"
import { readCopies } from "./copies.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-header-"))
after(() => rmSync(folder, { recursive: true }))
const HEADER_SIZE = 16 << 10

async function image(): Promise<Uint8Array> {
  const enclave = new FakeEnclave()
  const disk = new MemoryStore(new Uint8Array(2 << 20))
  const made = await makeVolume(
    { enclave, seal: enclave.seal },
    {
      uuid: "11111111-2222-4333-8444-555555555555",
      label: "",
      sectorSize: 512,
      keySize: 32,
      detached: false,
      headerSize: HEADER_SIZE,
    },
    [
      {
        secret: new TextEncoder().encode("secret"),
        slot: null,
        kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
        type: "tresor",
        policy: "mrsigner",
      },
    ],
    "disk",
  )
  await writeVolume(disk, made, { wipeOld: false, progress() {} })
  return disk.bytes
}

/** Opens the header in `bytes`, then lets `spoil` change the file, then saves another sealed salt in keyslot 0. */
async function reseal(bytes: Uint8Array, spoil: (bytes: Uint8Array) => void) {
  const path = join(folder, "disk.img")
  writeFileSync(path, bytes)
  const warned: string[] = []
  const options = {
    readOnly: false,
    backend: "software",
    owner: {},
    warn: (text: string) => warned.push(text),
  } as const
  const header = await openHeader(path, options)
  const spoiled = bytes.slice()
  spoil(spoiled)
  writeFileSync(path, spoiled)
  const sealed = new Uint8Array(randomBytes(768))
  const saved = header.saveSealed(0, sealed)
  await saved.catch(() => {})
  return {
    saved,
    sealed,
    header,
    spoiled,
    now: new Uint8Array(readFileSync(path)),
    warned,
    again: () => openHeader(path, options),
  }
}

const sealedIn = ({ metadata }: Awaited<ReturnType<typeof readCopies>>["header"]) =>
  [...metadata.tokens.values()].flatMap((token) => ("foreign" in token ? [] : [(token as TresorToken).sealed]))

test("a salt sealed anew is saved over a copy that is broken or old, and both copies have it", async () => {
  const good = await image()
  const { sequenceId } = (await readCopies(new MemoryStore(good.slice()))).header
  const older = good.slice()
  const { now: newer } = await reseal(good, () => {})
  for (const [what, base, spoil] of [
    ["none", good, () => {}],
    ["second broken", good, (bytes: Uint8Array) => bytes.fill(0, HEADER_SIZE, HEADER_SIZE + 4096)],
    ["second torn", good, (bytes: Uint8Array) => bytes.fill(7, HEADER_SIZE + 5000, HEADER_SIZE + 5100)],
    ["second old", newer, (bytes: Uint8Array) => bytes.set(older.subarray(HEADER_SIZE, 2 * HEADER_SIZE), HEADER_SIZE)],
    ["first broken", good, (bytes: Uint8Array) => bytes.fill(0, 0, 4096)],
    ["first old", newer, (bytes: Uint8Array) => bytes.set(older.subarray(0, HEADER_SIZE))],
  ] as const) {
    const { saved, sealed, now, spoiled, again } = await reseal(base, spoil)
    const before = await readCopies(new MemoryStore(spoiled.slice()))
    assert.equal(before.stale.length, what === "none" ? 0 : 1, what)
    await saved
    const { header, stale } = await readCopies(new MemoryStore(now.slice()))
    assert.deepEqual(stale, [], what)
    assert.equal(header.sequenceId, before.header.sequenceId + 1n, what)
    assert.ok(header.sequenceId > sequenceId)
    assert.deepEqual(sealedIn(header), [sealed], what)
    // Either copy alone says it, and nothing else has changed.
    for (const at of [0, HEADER_SIZE]) {
      const one = now.slice()
      one.fill(0, at, at + 4096)
      assert.deepEqual(sealedIn((await readCopies(new MemoryStore(one))).header), [sealed], what)
    }
    assert.deepEqual(now.subarray(2 * HEADER_SIZE), spoiled.subarray(2 * HEADER_SIZE), what)
    assert.deepEqual((await (await again()).read()).keyslots.length, 1)
  }
})

test("a salt sealed anew is not saved where another format has come, and nothing is written", async () => {
  const { saved, now, spoiled } = await reseal(await image(), (bytes) => {
    const swap = join(folder, "swap")
    writeFileSync(swap, bytes.fill(0, 0, 4096))
    assert.equal(spawnSync("mkswap", [swap]).status, 0)
    // mkswap has removed the other copy as well.
    bytes.set(readFileSync(swap).subarray(0, 4096))
  })
  await assert.rejects(saved, { code: "LUKS2_AMBIGUOUS", exitCode: 4 })
  assert.deepEqual(now, spoiled)
})
