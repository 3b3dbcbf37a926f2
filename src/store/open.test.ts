import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { openStore } from "./open.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-store-"))
after(() => rmSync(folder, { recursive: true }))
const options = { readOnly: false, direct: false }

test("a file serves its bytes, holes as zeros", async () => {
  const path = join(folder, "file")
  writeFileSync(path, "")
  truncateSync(path, 1 << 20)
  const store = await openStore(path, options)
  assert.equal(store.size, 1 << 20)
  await store.write(4000, Buffer.from("across"))
  await store.flush()
  const bytes = Buffer.alloc(10)
  await store.read(3998, bytes)
  assert.equal(bytes.toString("latin1"), "\0\0across\0\0")
  await assert.rejects(store.read((1 << 20) - 1, bytes), { code: "EINVAL" })
  // The file shrinks under us: not our range, but the storage's fault.
  truncateSync(path, 4096)
  await assert.rejects(store.read(8192, bytes), { code: "EIO" })
  assert.equal(await store.refresh(), 4096)
  await store.close()
})

test("what cannot be opened is told in one line, with cryptsetup's exit code", async () => {
  const small = join(folder, "small")
  writeFileSync(small, "x")
  const directory = join(folder, "directory")
  mkdirSync(directory)
  for (const [path, code, exitCode, fact] of [
    [join(folder, "nothing"), "STORE_MISSING", 4, /no such file or device/],
    [join(small, "below"), "STORE_MISSING", 4, /no such file or device/],
    [directory, "STORE_UNFIT", 4, /directory/],
    ["/dev/null", "STORE_UNFIT", 4, /neither a regular file nor a block device/],
    [small, "STORE_TOO_SMALL", 4, /1 bytes/],
    [`nbd+unix:///?socket=${join(folder, "nothing")}`, "STORE_UNREACHABLE", 4, /no NBD server answers/],
    ["nbd://localhost:1/", "STORE_UNREACHABLE", 4, /localhost:1 \(ECONNREFUSED\)/],
    ["nbds://localhost/", "NBD_URI", 1, /TLS/],
  ] as const) {
    await assert.rejects(openStore(path, options), (error: { code: string; exitCode: number; message: string }) => {
      assert.deepEqual([error.code, error.exitCode], [code, exitCode])
      assert.match(error.message, /^Cannot (open|use) [^\n]+$/)
      assert.match(error.message, fact)
      return true
    })
  }
})
