/**
 * The NBD store on nbdkit, with its filters and without its mercy. The cache
 * filter in writeback mode keeps writes in a temporary file until a flush: to
 * kill it is to lose every write that was acknowledged and not flushed.
 */
import assert from "node:assert/strict"
import { randomBytes, randomInt } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { serveNbd } from "../../src/export/server.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import { NbdStore, type NbdStoreOptions } from "../../src/store/nbd-store.ts"
import { HANDLE, TestEnclave, xts } from "../../src/testing/test-enclave.ts"
import { Volume } from "../../src/volume/volume.ts"
import { succeed } from "../nbd/harness.ts"
import { Nbdkit } from "./nbdkit.ts"

const SIZE = 4 << 20

async function withNbdkit(args: string[], body: (nbdkit: Nbdkit, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbdkit-"))
  const nbdkit = new Nbdkit(folder, ...args.map((arg) => arg.replace("FOLDER", folder)))
  try {
    writeFileSync(join(folder, "file"), "")
    truncateSync(join(folder, "file"), SIZE)
    await nbdkit.start()
    await body(nbdkit, folder)
  } finally {
    await nbdkit.kill()
    rmSync(folder, { recursive: true })
  }
}

async function withStore(nbdkit: Nbdkit, options: NbdStoreOptions, body: (store: NbdStore) => Promise<void>) {
  const store = await NbdStore.open(nbdkit.target, options)
  try {
    await body(store)
  } finally {
    await store.close()
  }
}

async function contents(store: NbdStore): Promise<Buffer> {
  const bytes = Buffer.alloc(store.size)
  await store.read(0, bytes)
  return bytes
}

const FORGETFUL = ["--filter=cache", "file", "FOLDER/file", "cache=writeback"]

test("a forgetful server loses what a plain client wrote: what the next tests rely on", () =>
  withNbdkit(FORGETFUL, async (nbdkit) => {
    const client = await NbdClient.connect(nbdkit.socket)
    await client.write(0, Buffer.from("kept"))
    await client.flush()
    await client.write(4096, Buffer.from("lost"))
    await nbdkit.kill()
    await client.ended
    await nbdkit.start()
    await using again = await NbdClient.connect(nbdkit.socket)
    assert.equal((await again.read(0, 4)).toString(), "kept")
    assert.deepEqual(await again.read(4096, 4), Buffer.alloc(4))
  }))

const KILLS = 5

test("nothing acknowledged is lost when the server is killed again and again", () =>
  withNbdkit(FORGETFUL, async (nbdkit, folder) => {
    const model = Buffer.alloc(SIZE)
    await withStore(nbdkit, {}, async (store) => {
      let over = false
      let kills = 0
      let writes = 0
      const killer = (async () => {
        while (!over) {
          await sleep(randomInt(20, 200))
          await nbdkit.kill()
          kills++
          await sleep(randomInt(1, 50))
          await nbdkit.start()
          // On a busy machine, too: it is to come back before it is killed again.
          const before = writes
          while (writes === before && !over) await sleep(5)
        }
      })()
      // Each writer has its own stripes, so that the last write of a byte is known. On a fast machine, too: 250 writes
      // may be over before the server was killed often enough.
      const writer = async (lane: number) => {
        for (let n = 0; n < 250 || kills < KILLS; n++) {
          const length = randomInt(1, 5000)
          const offset = (randomInt(0, SIZE / 65_536) * 8 + lane) * 8192 + randomInt(0, 8192 - length)
          const bytes = randomBytes(length)
          await store.write(offset, bytes)
          bytes.copy(model, offset)
          writes++
          if (n % 40 === 39) await store.flush()
          if (n % 16 === 0) await sleep(10)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, lane) => writer(lane)))
      over = true
      await killer
      assert.ok(kills >= KILLS, `only ${kills} kills`)
      assert.ok((await contents(store)).equals(model), "what is read differs from what was written")
      await store.flush()
    })
    await nbdkit.kill()
    assert.ok(readFileSync(join(folder, "file")).equals(model), "what was flushed differs from what was written")
  }))

test("a journal that is full is flushed, and what it let go is safe", () =>
  withNbdkit(["--filter=log", ...FORGETFUL, "logfile=FOLDER/log"], async (nbdkit, folder) => {
    const model = randomBytes(SIZE)
    await withStore(nbdkit, { journalBytes: 512 << 10 }, async (store) => {
      for (let at = 0; at < SIZE; at += 65_536) await store.write(at, model.subarray(at, at + 65_536))
      const flushes = readFileSync(join(folder, "log"), "latin1").match(/ Flush /g)?.length ?? 0
      assert.ok(flushes >= SIZE / (512 << 10) - 1, `only ${flushes} flushes`)
      await nbdkit.kill()
      await nbdkit.start()
      assert.ok((await contents(store)).equals(model))
    })
  }))

test("requests end in EIO when the server stays away, and go on when it is back", () =>
  withNbdkit(FORGETFUL, (nbdkit) =>
    withStore(nbdkit, { lossGraceMs: 300 }, async (store) => {
      await store.write(0, Buffer.from("acknowledged"))
      await nbdkit.kill()
      const started = performance.now()
      await assert.rejects(store.write(4096, Buffer.from("refused")), { code: "EIO" })
      assert.ok(performance.now() - started >= 250)
      await assert.rejects(store.read(0, Buffer.alloc(1)), { code: "EIO" })
      await nbdkit.start()
      const bytes = Buffer.alloc(12)
      for (;;) {
        try {
          await store.read(0, bytes)
          break
        } catch {
          await sleep(20)
        }
      }
      assert.equal(bytes.toString(), "acknowledged")
    }),
  ))

test("a server that hangs is left, and found again", () =>
  withNbdkit(["memory", String(SIZE)], (nbdkit) =>
    withStore(nbdkit, { timeoutMs: 200, lossGraceMs: 20_000 }, async (store) => {
      await store.write(0, Buffer.from("before"))
      await nbdkit.stop()
      const bytes = Buffer.alloc(6)
      let done = false
      const read = store.read(0, bytes).then(() => (done = true))
      await sleep(600)
      assert.equal(done, false)
      nbdkit.continue()
      await read
      assert.equal(bytes.toString(), "before")
    }),
  ))

test("the server's errors keep their name and leave the store usable", () =>
  withNbdkit(
    [
      "--filter=error",
      "memory",
      String(SIZE),
      "error-pwrite=ENOSPC",
      "error-pwrite-rate=50%",
      "error-pread=EIO",
    ].concat("error-pread-rate=50%"),
    (nbdkit) =>
      withStore(nbdkit, {}, async (store) => {
        const seen = new Map<string, number>()
        const model = Buffer.alloc(SIZE)
        const count = (kind: string) => (error: { code?: string } | undefined) => {
          const key = `${kind} ${error?.code ?? "done"}`
          seen.set(key, (seen.get(key) ?? 0) + 1)
        }
        for (let n = 0; n < 100; n++) {
          const bytes = randomBytes(512)
          await store.write(n * 512, bytes).then(
            () => bytes.copy(model, n * 512),
            (error) => count("write")(error),
          )
          const back = Buffer.alloc(512)
          await store.read(n * 512, back).then(() => {
            assert.ok(back.equals(model.subarray(n * 512, n * 512 + 512)))
            count("read")(undefined)
          }, count("read"))
        }
        await store.flush()
        assert.deepEqual([...seen.keys()].sort(), ["read EIO", "read done", "write ENOSPC"])
      }),
  ))

test("nbdkit's retry filter hides errors that pass", () => {
  const retry = ["--filter=retry", "retry-delay=1", "retry-exponential=no"]
  const broken = ["--filter=error", "error=EIO", "error-rate=100%", "error-file=FOLDER/broken"]
  const [filters, parameters] = [true, false].map((filter) =>
    [...retry, ...broken].filter((arg) => arg.startsWith("--") === filter),
  )
  return withNbdkit([...filters!, "file", "FOLDER/file", ...parameters!], (nbdkit, folder) =>
    withStore(nbdkit, {}, async (store) => {
      writeFileSync(join(folder, "broken"), "")
      const bytes = randomBytes(65_536)
      const started = performance.now()
      const written = store.write(0, bytes)
      await sleep(200)
      rmSync(join(folder, "broken"))
      await written
      assert.ok(performance.now() - started >= 900, "nothing was retried")
      assert.ok((await contents(store)).subarray(0, bytes.length).equals(bytes))
    }),
  )
})

test("a slow server has many requests in flight", () =>
  withNbdkit(["--filter=delay", "memory", String(SIZE), "rdelay=500ms", "wdelay=500ms"], (nbdkit) =>
    withStore(nbdkit, {}, async (store) => {
      const started = performance.now()
      await Promise.all(Array.from({ length: 16 }, (_, n) => store.write(n * 4096, Buffer.alloc(4096, n))))
      const took = performance.now() - started
      // One after another they take 8 s.
      assert.ok(took >= 500 && took < 4000, `${took} ms for 16 writes of 500 ms each`)
    }),
  ))

test("a read-only export is refused for writing, and serves reading", () =>
  withNbdkit(["--readonly", "memory", String(SIZE)], async (nbdkit) => {
    await assert.rejects(NbdStore.open(nbdkit.target), { code: "EPERM", message: /--readonly/ })
    await withStore(nbdkit, { readOnly: true }, async (store) => {
      await store.read(0, Buffer.alloc(512))
      await assert.rejects(store.write(0, Buffer.alloc(512)), { code: "EPERM" })
    })
  }))

test("an encrypted volume on a server that is killed is what nbdcopy wrote to it", () =>
  withNbdkit(FORGETFUL, async (nbdkit, folder) => {
    const key = randomBytes(64)
    const volume = new Volume({ store: await NbdStore.open(nbdkit.target), offset: 0, size: null, sectorSize: 4096 })
    volume.unlock(new TestEnclave(key, 4096).enclave, HANDLE)
    const path = join(folder, "volume.sock")
    const server = await serveNbd({ path, volume })
    const image = join(folder, "image")
    const bytes = randomBytes(SIZE)
    writeFileSync(image, bytes)
    let copied = false
    const copy = succeed(
      "nbdcopy",
      "--request-size=65536",
      "--requests=4",
      "--flush",
      image,
      `nbd+unix:///?socket=${path}`,
    )
    const watched = copy.finally(() => (copied = true))
    for (let kills = 0; kills === 0 || !copied; kills++) {
      await sleep(40)
      await nbdkit.kill()
      await nbdkit.start()
    }
    await watched
    await server.close()
    await volume.close()
    await nbdkit.kill()
    assert.ok(xts(key, true, 4096, 0, readFileSync(join(folder, "file"))).equals(bytes))
  }))

test("a server that takes blocks of 4096 only is read and written anywhere", () =>
  withNbdkit(
    ["--filter=blocksize-policy", "memory", String(SIZE), "blocksize-minimum=4096", "blocksize-preferred=4096"].concat(
      "blocksize-maximum=1M",
      "blocksize-error-policy=error",
    ),
    (nbdkit) =>
      withStore(nbdkit, {}, async (store) => {
        assert.equal(store.minimumBlock, 4096)
        const model = Buffer.alloc(SIZE)
        const ranges = Array.from({ length: 60 }, () => {
          const offset = randomInt(0, SIZE / 16)
          return { offset, bytes: randomBytes(randomInt(1, 9000)) }
        })
        // Parts of one block, side by side: none undoes another.
        await Promise.all(
          Array.from({ length: 16 }, (_, n) => store.write(SIZE / 2 + n * 512, Buffer.alloc(512, n + 1))),
        )
        for (let n = 0; n < 16; n++) model.fill(n + 1, SIZE / 2 + n * 512, SIZE / 2 + n * 512 + 512)
        for (const { offset, bytes } of ranges) {
          await store.write(offset, bytes)
          bytes.copy(model, offset)
          const read = Buffer.alloc(bytes.length)
          await store.read(offset, read)
          assert.ok(read.equals(bytes))
        }
        await store.flush()
        assert.ok((await contents(store)).equals(model))
      }),
  ))
