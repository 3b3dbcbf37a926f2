/** The front-end of bench/vhost against QEMU's back-end: what it says of ours is worth what it says of another. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { frontend, type Mixed, serveByQemu } from "./programs.ts"

const SIZE = 16 << 20
const folder = mkdtempSync(join(tmpdir(), "tresor-vhost-"))
const image = join(folder, "image")
const socket = join(folder, "vhost.sock")
writeFileSync(image, "")
truncateSync(image, SIZE)
const stop = await serveByQemu(socket, `driver=file,filename=${image},discard=unmap`)
after(async () => {
  await stop()
  rmSync(folder, { recursive: true })
})

test("the front-end reads the configuration", async () => {
  const { code, stdout, stderr } = await frontend(socket, ["info"])
  assert.equal(code, 0, stderr)
  const { queues, capacity } = JSON.parse(stdout)
  assert.deepEqual({ queues, capacity }, { queues: 2, capacity: SIZE })
})

test("bytes written arrive in the file, and bytes read are the file's", async () => {
  const bytes = randomBytes(3 << 19)
  assert.equal((await frontend(socket, ["write", "1536"], bytes)).code, 0)
  assert.deepEqual(readFileSync(image).subarray(1536, 1536 + bytes.length), bytes)
  assert.equal((await frontend(socket, ["zeroes", "2048", "4096"])).code, 0)
  const { stdout } = await frontend(socket, ["read", "2048", "4096"])
  assert.deepEqual(Buffer.from(stdout), Buffer.alloc(4096))
})

test("a request beyond the end is an I/O error", async () => {
  assert.equal((await frontend(socket, ["read", String(SIZE), "512"])).code, 3)
})

// A buffer in two regions with an indirect table: 7.2's libvhost-user counts its pieces as a loop.
for (const options of [
  [],
  ["--queues=2", "--regions=3"],
  ["--indirect", "--no-event-idx"],
  ["--regions=8", "--slots"],
]) {
  test(`mixed requests read what was written ${options.join(" ")}`, async () => {
    const { code, stdout, stderr } = await frontend(socket, [...options, "--depth=16", "--count=3000", "mixed"])
    assert.equal(code, 0, stderr)
    const mixed = JSON.parse(stdout) as Mixed
    assert.equal(mixed.reads + mixed.writes + mixed.flushes + mixed.discards + mixed.zeroes, 3000)
    assert.ok(mixed.compared > 1000 && mixed.flushes > 0 && mixed.discards > 0 && mixed.zeroes > 0, stdout)
  })
}

test("mixed requests fail on a disk that forgets what is written", async () => {
  const place = join(folder, "null.sock")
  const end = await serveByQemu(place, `driver=null-co,size=${SIZE},read-zeroes=on`)
  try {
    const { code, stderr } = await frontend(place, ["--depth=16", "--count=1000", "mixed"])
    assert.equal(code, 1)
    assert.match(stderr, /^sector \d+ differs from write \d+$/m)
  } finally {
    await end()
  }
})
