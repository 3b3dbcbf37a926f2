import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import {
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import fc from "fast-check"
import { FileStore } from "./file-store.ts"
import { openStore } from "./open.ts"

// Not in /tmp, which may be a tmpfs without O_DIRECT.
const folder = mkdtempSync(join(process.cwd(), "node_modules", ".tresor-direct-"))
after(() => rmSync(folder, { recursive: true }))
const SIZE = (3 << 20) + 777

function descriptors(path: string): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  })
}

function directFlag(fd: string): boolean {
  const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))!
  return (Number.parseInt(flags[1]!, 8) & constants.O_DIRECT) !== 0
}

test("O_DIRECT and the cache at the edges together write what was given", async () => {
  const path = join(folder, "file")
  const model = randomBytes(SIZE)
  writeFileSync(path, model)
  const store = await FileStore.open(path, { direct: true })
  // One of each; the numbers are whichever were free.
  assert.deepEqual(descriptors(path).map(directFlag).sort(), [false, true])
  const range = fc
    .tuple(fc.nat(SIZE - 1), fc.constantFrom(1, 512, 4096, 10_000, 2 << 20), fc.boolean())
    .map(([offset, length, aligned]) => {
      const start = aligned ? offset - (offset % 4096) : offset
      return { start, length: Math.min(length, SIZE - start) }
    })
  await fc.assert(
    fc.asyncProperty(range, async ({ start, length }) => {
      const bytes = randomBytes(length)
      await store.write(start, bytes)
      model.set(bytes, start)
      const around = Buffer.alloc(Math.min(SIZE, start + length + 5000) - Math.max(0, start - 5000))
      await store.read(Math.max(0, start - 5000), around)
      const at = Math.max(0, start - 5000)
      assert.ok(around.equals(model.subarray(at, at + around.length)))
    }),
    { numRuns: 60 },
  )
  await store.flush()
  await store.close()
  assert.ok(readFileSync(path).equals(model))
})

test("a filesystem without O_DIRECT is refused with the way out", async () => {
  await assert.rejects(openStore("/proc/self/maps", { readOnly: true, direct: true }), {
    code: "STORE_UNFIT",
    message: /leave --direct out/,
  })
})

test("a discard gives blocks back and reads as zeros", async () => {
  const path = join(folder, "holes")
  writeFileSync(path, randomBytes(1 << 20))
  const store = await FileStore.open(path)
  await store.flush()
  const before = statSync(path).blocks
  await store.discard(256 << 10, 512 << 10)
  assert.equal(before - statSync(path).blocks, (512 << 10) / 512)
  const bytes = Buffer.alloc(512 << 10, 1)
  await store.read(256 << 10, bytes)
  assert.ok(bytes.equals(Buffer.alloc(512 << 10)))
  await assert.rejects(store.discard(1 << 20, 1), { code: "EINVAL" })
  await store.close()
})
