/** Disks that fail, files that are cut off. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, mock, test } from "node:test"
import { serveNbd } from "../export/server.ts"
import { NbdClient } from "../nbd/client.ts"
import { HANDLE, TestEnclave } from "../testing/test-enclave.ts"
import { Volume } from "../volume/volume.ts"
import { FileStore } from "./file-store.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-failures-"))
after(() => rmSync(folder, { recursive: true }))
const KEY = randomBytes(64)
const PAGE = 4096
const SIZE = 64 * PAGE

/** A served volume on a file, its sectors moved at once where they can be. */
async function onFile(
  name: string,
  body: (at: { file: string; store: FileStore; volume: Volume; path: string }) => Promise<void>,
): Promise<void> {
  const file = join(folder, name)
  writeFileSync(file, randomBytes(SIZE))
  const store = await FileStore.open(file)
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: PAGE, discards: true })
  volume.unlock(new TestEnclave(KEY, PAGE).enclave, HANDLE)
  const path = join(folder, `${name}.sock`)
  const server = await serveNbd({ path, volume })
  try {
    await body({ file, store, volume, path })
  } finally {
    await server.close()
    await volume.close().catch(() => {})
  }
}

/** The prototype of FileHandle, which node:fs does not export. */
async function handles(): Promise<{ datasync(): Promise<void> }> {
  const handle = await open("/dev/null")
  await handle.close()
  return Object.getPrototypeOf(handle)
}

test("after a flush that failed no client is told that its writes are safe", async () => {
  const prototype = await handles()
  await onFile("flush", async ({ file, store, volume, path }) => {
    await using a = await NbdClient.connect(path)
    await using b = await NbdClient.connect(path)
    await a.write(0, randomBytes(PAGE))
    await b.write(PAGE, randomBytes(PAGE))
    // As Linux does: the error is told once, to whoever asks first.
    let told = 0
    const failing = mock.method(prototype, "datasync", async () => {
      if (told++ === 0) throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" })
    })
    try {
      await assert.rejects(a.flush(), { code: "EIO" })
      await assert.rejects(b.flush(), { code: "EIO" })
      await assert.rejects(b.write(2 * PAGE, randomBytes(PAGE), { fua: true }), { code: "EIO" })
      const before = readFileSync(file)
      for (const client of [a, b]) {
        await assert.rejects(client.write(3 * PAGE, randomBytes(PAGE)), { code: "EIO" })
        await assert.rejects(client.write(3 * PAGE + 1, randomBytes(10)), { code: "EIO" })
        await assert.rejects(client.writeZeroes(3 * PAGE, PAGE), { code: "EIO" })
        await assert.rejects(client.trim(3 * PAGE, PAGE), { code: "EIO" })
      }
      assert.ok(readFileSync(file).equals(before))
      assert.equal((await b.read(PAGE, PAGE)).length, PAGE)
      assert.equal(store.failed, true)
      await assert.rejects(volume.close(), { code: "EIO", message: /a flush of .* failed \(EIO\)/ })
    } finally {
      failing.mock.restore()
    }
  })
})

for (const atOnce of [true, false])
  test(`what a truncated file has lost is never read as garbage, ${atOnce ? "moved at once" : "through the pool"}`, async () => {
    await onFile(`truncated-${atOnce}`, async ({ file, path }) => {
      await using client = await NbdClient.connect(path)
      const content = randomBytes(SIZE)
      await client.write(0, content)
      truncateSync(file, 10 * PAGE + 100)
      // Past the end, and across it; FUA does not go at once.
      for (const [offset, length] of [
        [60 * PAGE, PAGE],
        [10 * PAGE, PAGE],
        [9 * PAGE, 2 * PAGE],
        [40 * PAGE + 5, 20],
        [0, SIZE],
      ] as const) {
        await assert.rejects(client.write(offset, randomBytes(length), { fua: !atOnce }), { code: "EIO" })
        await assert.rejects(client.read(offset, length), { code: "EIO" })
      }
      assert.equal(statSync(file).size, 10 * PAGE + 100)
      assert.ok((await client.read(0, 9 * PAGE)).equals(content.subarray(0, 9 * PAGE)))
      const page = randomBytes(PAGE)
      await client.write(9 * PAGE, page)
      assert.ok((await client.read(9 * PAGE, PAGE)).equals(page))
    })
  })

test("a store is not closed under work on its descriptors", async () => {
  const file = join(folder, "working")
  writeFileSync(file, Buffer.alloc(SIZE))
  const store = await FileStore.open(file)
  const bytes = randomBytes(SIZE)
  const writes = Array.from({ length: 64 }, (_, n) => store.write(n * PAGE, bytes.subarray(n * PAGE, (n + 1) * PAGE)))
  await Promise.all([store.close(), ...writes])
  assert.ok(readFileSync(file).equals(bytes))
})
