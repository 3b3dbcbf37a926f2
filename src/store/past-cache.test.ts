import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { IoError } from "../base/io-error.ts"
import { FileStore } from "./file-store.ts"
import { MemoryStore } from "./memory-store.ts"
import { type Bulk, PastCache, pageMemory, withPastCache } from "./past-cache.ts"

const PAGE = 4096

/** Fails with that code, and counts what it was asked for. */
class Way extends MemoryStore {
  asked = 0
  fails: "EINVAL" | "EIO" | null = null

  async #ask(move: () => Promise<void>): Promise<void> {
    this.asked++
    if (this.fails !== null) throw new IoError(this.fails, "refused")
    await move()
  }

  override read(offset: number, into: Uint8Array): Promise<void> {
    return this.#ask(() => super.read(offset, into))
  }

  override write(offset: number, from: Uint8Array): Promise<void> {
    return this.#ask(() => super.write(offset, from))
  }
}

const ways = () => ({ cached: new Way(new Uint8Array(4 * PAGE)), past: new Way(new Uint8Array(4 * PAGE)) })

test("whole pages go past the page cache, parts of pages through it", async () => {
  const { cached, past } = ways()
  const both = new PastCache(cached, past)
  await both.read(PAGE, new Uint8Array(2 * PAGE))
  await both.write(0, new Uint8Array(PAGE))
  assert.deepEqual([cached.asked, past.asked], [0, 2])
  await both.read(512, new Uint8Array(PAGE))
  await both.write(PAGE, new Uint8Array(512))
  assert.deepEqual([cached.asked, past.asked], [2, 2])
})

test("a filesystem that refuses O_DIRECT is asked once; another error is the caller's", async () => {
  const { cached, past } = ways()
  const both = new PastCache(cached, past)
  past.fails = "EINVAL"
  await both.read(0, new Uint8Array(PAGE))
  await both.write(0, new Uint8Array(PAGE))
  assert.deepEqual([cached.asked, past.asked], [2, 1])
  const again = new PastCache(cached, past)
  past.fails = "EIO"
  await assert.rejects(again.read(0, new Uint8Array(PAGE)), { code: "EIO" })
  await assert.rejects(again.write(0, new Uint8Array(PAGE)), { code: "EIO" })
  assert.equal(cached.asked, 2)
})

async function withFile(folder: string, work: (store: FileStore, content: Uint8Array) => Promise<void>): Promise<void> {
  const made = mkdtempSync(join(folder, "tresor-past-"))
  const content = new Uint8Array(randomBytes(64 * PAGE))
  writeFileSync(join(made, "file"), content)
  const store = await FileStore.open(join(made, "file"))
  try {
    await work(store, content)
  } finally {
    await store.close()
    rmSync(made, { recursive: true })
  }
}

test("both ways see what the other wrote, in aligned memory and any other", () =>
  withFile(tmpdir(), async (store, content) => {
    const all = new Uint8Array(content.length)
    // The page cache has it.
    await store.read(0, all)
    const check = async (way: Bulk) => {
      await way.read(0, all)
      assert.deepEqual(all, content)
    }
    await withPastCache(store, async (past) => {
      const way = past ?? store
      for (const memory of [pageMemory(8 * PAGE), new Uint8Array(8 * PAGE + 1).subarray(1)]) {
        for (const offset of [PAGE, 32 * PAGE + 512]) {
          memory.set(randomBytes(memory.length))
          content.set(memory, offset)
          await way.write(offset, memory)
          await check(store)
          await check(way)
          const read = pageMemory(memory.length)
          await way.read(offset, read)
          assert.deepEqual(read, memory)
        }
      }
      await way.flush()
    })
    await check(store)
  }))

test("there is no way past the page cache of a tmpfs, or of a store without a descriptor", async () => {
  await withFile("/dev/shm", (store) => withPastCache(store, async (past) => assert.equal(past, null)))
  await withPastCache(new MemoryStore(new Uint8Array(PAGE)), async (past) => assert.equal(past, null))
})
