import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
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
const SIZE = 3 << 20

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

/** Pages of the file in the page cache. */
const cachedPages = (path: string): number =>
  Number(execFileSync("fincore", ["--noheadings", "--output", "PAGES", path], { encoding: "latin1" }))

for (const transfers of ["ring", "threads"] as const) {
  test(`${transfers}: with O_DIRECT whole blocks are what was given, and nothing goes through the page cache`, async () => {
    const path = join(folder, transfers)
    const model = randomBytes(SIZE)
    writeFileSync(path, model)
    execFileSync("sync", [path])
    execFileSync("dd", [`if=${path}`, "of=/dev/null", "status=none", "iflag=nocache", "count=0"])
    assert.equal(cachedPages(path), 0)
    const store = await FileStore.open(path, { direct: true, transfers })
    assert.deepEqual([...new Set(descriptors(path).map(directFlag))].sort(), [false, true])
    const block = store.minimumBlock
    const range = fc
      .tuple(fc.nat(SIZE / block - 1), fc.constantFrom(1, 2, 8, 19, 512, 4096))
      .map(([at, blocks]) => ({ start: at * block, length: Math.min(blocks * block, SIZE - at * block) }))
    await fc.assert(
      fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 4 }), async (ranges) => {
        for (const { start, length } of ranges) {
          const bytes = randomBytes(length)
          await store.write(start, bytes)
          model.set(bytes, start)
        }
        await Promise.all(
          ranges.map(async ({ start, length }) => {
            const from = Math.max(0, start - block)
            const around = Buffer.alloc(Math.min(SIZE, start + length + block) - from)
            await store.read(from, around)
            assert.ok(around.equals(model.subarray(from, from + around.length)))
          }),
        )
      }),
      { numRuns: 40 },
    )
    await store.flush()
    assert.equal(cachedPages(path), 0)
    for (const [offset, length] of [
      [block, block - 1],
      [1, block],
    ] as const) {
      await assert.rejects(store.write(offset, Buffer.alloc(length)), { code: "EINVAL" })
      await assert.rejects(store.read(offset, Buffer.alloc(length)), { code: "EINVAL" })
    }
    assert.equal(cachedPages(path), 0)
    await store.close()
    assert.ok(readFileSync(path).equals(model))
  })

  test(`${transfers}: a discard gives blocks back and reads as zeros`, async () => {
    const path = join(folder, `holes-${transfers}`)
    writeFileSync(path, randomBytes(1 << 20))
    const store = await FileStore.open(path, { transfers })
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
}

test("a filesystem without O_DIRECT is refused with the way out", async () => {
  await assert.rejects(openStore("/proc/self/maps", { readOnly: true, direct: true }), {
    code: "STORE_UNFIT",
    message: /leave --direct out/,
  })
})
