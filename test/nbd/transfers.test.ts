/**
 * Reads that wait for a disk and writes past the page cache, compared with OpenSSL's reading of the same file: by
 * io_uring and by threads, cached in part, at depth; a file that ends early, and a volume that is locked meanwhile.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import { serveNbd } from "../../src/export/server.ts"
import { createEnclave } from "../../src/native/addon.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import { FileStore } from "../../src/store/file-store.ts"
import { makeVolume, startImage, unlock } from "../../src/testing/real-image.ts"
import { xts } from "../../src/testing/test-enclave.ts"
import { Volume } from "../../src/volume/volume.ts"
import { root } from "../cli/harness.ts"
import { succeed } from "./harness.ts"

// Not in /tmp, which may be a tmpfs, whose files are always in memory.
const folder = mkdtempSync(join(root, "node_modules", ".tresor-transfers-"))
after(() => rmSync(folder, { recursive: true }))

const OFFSET = 1 << 20
const SIZE = 24 << 20
const SECTOR = 4096
const KIB = 1024

interface Served {
  readonly path: string
  readonly socket: string
  readonly volume: Volume
  readonly plaintext: Buffer
  readonly open: () => Promise<void>
}

const enclave = await startImage(createEnclave, "software")
after(() => enclave[Symbol.asyncDispose]())
const { header, key } = await makeVolume(enclave)

async function served(
  engine: "ring" | "threads",
  direct: boolean,
  body: (at: Served) => Promise<void>,
  size = SIZE,
): Promise<void> {
  const path = join(folder, `volume-${engine}-${direct}`)
  const ciphertext = randomBytes(OFFSET + size)
  writeFileSync(path, ciphertext)
  await uncached(path)
  const store = await FileStore.open(path, { transfers: engine, direct })
  const volume = new Volume({ store, offset: OFFSET, size: null, sectorSize: SECTOR })
  const open = async () => volume.unlock(enclave, (await unlock(enclave, header)).handle)
  await open()
  const socket = join(folder, `${engine}-${direct}.sock`)
  const server = await serveNbd({ path: socket, volume })
  try {
    const plaintext = xts(key, true, SECTOR, 0, ciphertext.subarray(OFFSET))
    await body({ path, socket, volume, plaintext, open })
  } finally {
    await server.close()
    await volume.close()
  }
}

/** Nothing of the file, or so many bytes of it, is in the page cache afterwards. */
async function uncached(path: string, bytes = 0): Promise<void> {
  const range = bytes === 0 ? ["count=0"] : [`count=${bytes}`, "iflag=count_bytes"]
  await succeed("sync", path)
  await succeed("dd", `if=${path}`, "of=/dev/null", "status=none", "iflag=nocache", ...range)
}

for (const engine of ["ring", "threads"] as const) {
  for (const direct of [false, true]) {
    test(`${engine}${direct ? ", direct" : ""}: what is not cached is read at depth, and is what is in the file`, () =>
      served(engine, direct, async ({ path, socket, volume, plaintext }) => {
        const clients = await Promise.all([0, 1, 2].map(() => NbdClient.connect(socket)))
        try {
          const before = volume.counters.reads
          for (const length of [4 * KIB, 12 * KIB, 128 * KIB, 132 * KIB, 1024 * KIB]) {
            // A part of it is cached: hits and misses lie in one batch, and in one request.
            readFileSync(path)
            await uncached(path, 9 * 1024 * KIB)
            const reads = Array.from({ length: 48 }, (_, index) => {
              const offset = Math.floor(((index * 7919 * SECTOR) % (SIZE - length)) / SECTOR) * SECTOR
              return clients[index % 3]!.read(offset, length).then((bytes) => {
                assert.ok(bytes.equals(plaintext.subarray(offset, offset + length)), `${length} bytes at ${offset}`)
              })
            })
            await Promise.all(reads)
          }
          assert.ok(volume.counters.reads - before >= 5 * 48)
          const { engine: used, deepest, underWay, stranded } = volume.diskStatus!
          assert.equal(used, engine === "ring" ? "io_uring" : "threads")
          assert.ok(deepest >= 8, `at most ${deepest} under way`)
          assert.deepEqual([underWay, stranded, volume.counters.pending], [0, 0, 0])
        } finally {
          for (const client of clients) await client[Symbol.asyncDispose]()
        }
      }))
  }

  test(`${engine}: writes past the page cache are OpenSSL's, at depth, and nothing beside them changes`, () =>
    served(engine, true, async ({ path, socket, volume, plaintext }) => {
      await using client = await NbdClient.connect(socket)
      let at = 0
      const writes: Promise<void>[] = []
      // Whole sectors and parts; none touches another's.
      for (const length of [4 * KIB, 128 * KIB, 1000, 1024 * KIB + 8 * KIB, 3 * KIB, 64 * KIB].flatMap((each) => [
        each,
        each,
        each,
      ])) {
        const bytes = randomBytes(length)
        plaintext.set(bytes, at)
        writes.push(client.write(at, bytes))
        at = Math.ceil((at + length) / SECTOR) * SECTOR
      }
      await Promise.all(writes)
      await client.flush()
      assert.ok(volume.diskStatus!.deepest >= 8)
      const written = xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET))
      assert.ok(written.equals(plaintext))
    }))

  test(`${engine}: a write past the end of a file that was cut off is EIO, and does not make it longer`, () =>
    served(engine, true, async ({ path, socket }) => {
      truncateSync(path, OFFSET + 8 * SECTOR)
      await using client = await NbdClient.connect(socket)
      await client.write(7 * SECTOR, randomBytes(SECTOR))
      await assert.rejects(client.write(8 * SECTOR, randomBytes(SECTOR)), { code: "EIO" })
      await client.flush()
      assert.equal(statSync(path).size, OFFSET + 8 * SECTOR)
    }))

  test(`${engine}: writes under way at a lock wait, and are whole once it is unlocked`, () =>
    served(engine, true, async ({ path, socket, volume, open, plaintext }) => {
      await using client = await NbdClient.connect(socket)
      const writes = Array.from({ length: 32 }, (_, index) => {
        const bytes = randomBytes(64 * KIB)
        plaintext.set(bytes, index * 64 * KIB)
        return client.write(index * 64 * KIB, bytes)
      })
      volume.lock()
      await new Promise((resolve) => setTimeout(resolve, 100))
      await open()
      await Promise.all(writes)
      await client.flush()
      const written = xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET))
      assert.ok(written.equals(plaintext))
    }))

  test(`${engine}: a file that was cut off answers EIO behind its end, and the rest`, () =>
    served(engine, false, async ({ path, socket, plaintext }) => {
      await uncached(path)
      truncateSync(path, OFFSET + SIZE / 2 + 5 * SECTOR)
      await using client = await NbdClient.connect(socket)
      const at = SIZE / 2
      assert.ok((await client.read(at, 4 * SECTOR)).equals(plaintext.subarray(at, at + 4 * SECTOR)))
      await assert.rejects(client.read(at, 1024 * KIB), { code: "EIO" })
      await assert.rejects(client.read(at + 8 * SECTOR, SECTOR), { code: "EIO" })
      assert.ok((await client.read(0, 1024 * KIB)).equals(plaintext.subarray(0, 1024 * KIB)))
    }))

  test(`${engine}: reads under way at a lock wait, and are answered once it is unlocked`, () =>
    served(engine, true, async ({ socket, volume, plaintext, open }) => {
      await using client = await NbdClient.connect(socket)
      const reads = Array.from({ length: 64 }, (_, index) => client.read(index * 128 * KIB, 128 * KIB))
      await client.read(0, SECTOR)
      volume.lock()
      const late = client.read(SECTOR, SECTOR)
      const first = await Promise.race([late, new Promise((resolve) => setTimeout(resolve, 200))])
      assert.equal(first, undefined, "a locked volume answered")
      await open()
      const all = await Promise.all(reads)
      all.forEach((bytes, index) => {
        assert.ok(bytes.equals(plaintext.subarray(index * 128 * KIB, (index + 1) * 128 * KIB)), `read ${index}`)
      })
      assert.ok((await late).equals(plaintext.subarray(SECTOR, 2 * SECTOR)))
    }))
}

test("a client that leaves with reads under way leaves no memory behind", () =>
  served("ring", true, async ({ socket, volume, plaintext }) => {
    for (let round = 0; round < 20; round++) {
      const client = await NbdClient.connect(socket)
      const reads = Array.from({ length: 32 }, (_, index) => client.read(index * 256 * KIB, 256 * KIB))
      const ended = Promise.allSettled(reads)
      await client.read(0, SECTOR).catch(() => {})
      await client[Symbol.asyncDispose]()
      await ended
    }
    await using client = await NbdClient.connect(socket)
    const { disk } = volume
    for (let tries = 0; disk!.transfers > 0 && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20))
    // All of it can be had again: 64 pieces.
    const pieces = Array.from({ length: 64 }, () => disk!.reserve(128 * KIB))
    assert.ok(pieces.every((at) => at >= 0))
    for (const at of pieces) disk!.release(at, 128 * KIB)
    assert.ok((await client.read(0, 1024 * KIB)).equals(plaintext.subarray(0, 1024 * KIB)))
  }))
