/**
 * Reads that wait for a disk and writes past the page cache, compared with OpenSSL's reading of the same file: by
 * io_uring and by threads, cached in part, at depth; a file that ends early, and a volume that is locked meanwhile.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import { setImmediate } from "node:timers/promises"
import { serveNbd } from "../../src/export/server.ts"
import { createEnclave } from "../../src/native/addon.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import type { Disk } from "../../src/store/disk.ts"
import { FileStore } from "../../src/store/file-store.ts"
import { RawPeer } from "../../src/testing/nbd-export.ts"
import { makeVolume, startImage, unlock } from "../../src/testing/real-image.ts"
import { xts } from "../../src/testing/test-enclave.ts"
import { Volume } from "../../src/volume/volume.ts"
import { root, until } from "../cli/harness.ts"
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

/** And threads beside the event loop. */
const ENGINES = {
  ring: ["ring", 0],
  threads: ["threads", 0],
  "ring, 2 beside": ["ring", 2],
  "threads, 2 beside": ["threads", 2],
} as const
type Engine = keyof typeof ENGINES

async function served(
  engine: Engine,
  direct: boolean,
  body: (at: Served) => Promise<void>,
  size = SIZE,
): Promise<void> {
  const path = join(folder, `volume-${engine}-${direct}`)
  const ciphertext = randomBytes(OFFSET + size)
  writeFileSync(path, ciphertext)
  await uncached(path)
  const [transfers, ioThreads] = ENGINES[engine]
  const store = await FileStore.open(path, { transfers, ioThreads, direct })
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

/**
 * A read whose first piece failed is answered on its own, and may be answered before the event loop has heard of its
 * other pieces, which the disk has ended.
 */
async function nothingPending(volume: Volume): Promise<void> {
  await until("nothing is pending", () => volume.counters.pending === 0)
}

const [ENOSPC, ENOKEY] = [28, 126]

/**
 * A transfer of a volume's offset fails with ENOKEY before it has begun ("early"), or with ENOSPC once the disk has
 * had it ("late").
 */
function failWrites(disk: Disk, fault: (offset: number) => "early" | "late" | null): void {
  const early: (() => void)[] = []
  const { writeFrom, submit } = disk
  disk.writeFrom = (offset, length, at, memory, from, ended) => {
    if (fault(offset) === "early") early.push(() => ended(ENOKEY))
    else
      writeFrom.call(
        disk,
        offset,
        length,
        at,
        memory,
        from,
        fault(offset) === null ? ended : () => void setImmediate().then(() => ended(ENOSPC)),
      )
  }
  disk.submit = () => {
    for (const end of early.splice(0)) end()
    submit.call(disk)
  }
}

for (const engine of Object.keys(ENGINES) as Engine[]) {
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
          const { engine: used, deepest, underWay, stranded, threads } = volume.diskStatus!
          assert.equal(used, ENGINES[engine][0] === "ring" ? "io_uring" : "threads")
          assert.equal(threads, ENGINES[engine][1])
          assert.ok(deepest >= 8, `at most ${deepest} under way`)
          assert.deepEqual([underWay, stranded], [0, 0])
          await nothingPending(volume)
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
      const small = Array.from({ length: 32 }, () => 4 * KIB)
      // Whole sectors and parts, some with FUA; none touches another's.
      for (const length of [...small, 128 * KIB, 1000, 1024 * KIB + 8 * KIB, 3 * KIB, 64 * KIB].flatMap((each) => [
        each,
        each,
        each,
      ])) {
        const bytes = randomBytes(length)
        plaintext.set(bytes, at)
        writes.push(client.write(at, bytes, { fua: writes.length % 3 === 1 }))
        at = Math.ceil((at + length) / SECTOR) * SECTOR
      }
      await Promise.all(writes)
      assert.ok((await client.read(100, at - 200)).equals(plaintext.subarray(100, at - 100)))
      // A page in the cache would keep old bytes, or be written back over new ones (docs/decisions/0064).
      assert.equal((await succeed("fincore", "--noheadings", "--output", "PAGES", path)).trim(), "0")
      await client.flush()
      // The pool's are six at most (docs/decisions/0067), and fewer where the first have ended before the last have come.
      const deep = ENGINES[engine][0] === "ring" ? 8 : 2
      assert.ok(volume.diskStatus!.deepest >= deep, `at most ${volume.diskStatus!.deepest} under way`)
      const written = xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET))
      assert.ok(written.equals(plaintext))
    }))

  test(`${engine}: a write that fails before it has begun is written all the same, one that fails later has its errno`, () =>
    served(engine, true, async ({ path, socket, volume, plaintext }) => {
      const faults = new Map<number, "early" | "late">()
      failWrites(volume.disk!, (offset) => faults.get(offset) ?? null)
      await using client = await NbdClient.connect(socket)
      const [piece, large] = [128 * KIB, 512 * KIB]
      /** What is written at once, where it goes wrong, and whether the client is told. */
      const cases: [length: number, faults: [at: number, fault: "early" | "late"][], code: string | null][] = [
        [SECTOR, [[0, "early"]], null],
        [SECTOR, [[0, "late"]], "ENOSPC"],
        ...[0, 1, 2, 3].flatMap((at): typeof cases => [
          [large, [[at * piece, "early"]], null],
          [large, [[at * piece, "late"]], "ENOSPC"],
        ]),
        // The rest of it is taken, and written by nobody.
        [
          large,
          [
            [0, "late"],
            [2 * piece, "early"],
          ],
          "ENOSPC",
        ],
        [
          large,
          [
            [0, "late"],
            [3 * piece, "early"],
          ],
          "ENOSPC",
        ],
        // Less than a piece is left at its end.
        [
          large + SECTOR,
          [
            [0, "late"],
            [large, "early"],
          ],
          "ENOSPC",
        ],
        [large + SECTOR, [[large, "early"]], null],
      ]
      for (const [length, where, code] of cases) {
        const bytes = randomBytes(length)
        faults.clear()
        for (const [at, fault] of where) faults.set(at, fault)
        const told = await client.write(0, bytes).then(
          () => null,
          (error: { code: string }) => error.code,
        )
        assert.equal(told, code, `${length} bytes, ${where}`)
        if (code === null) plaintext.set(bytes)
        faults.clear()
        // Nobody holds the sectors any more, and answers are still in step with requests.
        await client.write(large + SECTOR + 1, Buffer.from([length % 251]))
        plaintext[large + SECTOR + 1] = length % 251
        assert.ok((await client.read(large + SECTOR, 100)).equals(plaintext.subarray(large + SECTOR).subarray(0, 100)))
        if (code === null) {
          const written = xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET, OFFSET + length))
          assert.ok(written.equals(bytes), `${length} bytes, ${where}`)
        } else {
          await client.write(0, plaintext.subarray(0, large + SECTOR))
        }
      }
      await nothingPending(volume)
    }))

  test(`${engine}: writes whose key is gone when they are encrypted are left to who waits for one`, () =>
    served(engine, true, async ({ path, socket, volume, plaintext }) => {
      await using client = await NbdClient.connect(socket)
      volume.disk!.native.clearKey()
      const writes = Array.from({ length: 48 }, (_, index) => {
        const bytes = randomBytes([SECTOR, 64 * KIB, 132 * KIB][index % 3]!)
        plaintext.set(bytes, index * 256 * KIB)
        return client.write(index * 256 * KIB, bytes)
      })
      await Promise.all(writes)
      await client.flush()
      assert.ok(xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET)).equals(plaintext))
      await nothingPending(volume)
    }))

  test(`${engine}: a write that ends while a long reply is on its way is answered behind it`, () =>
    served(engine, true, async ({ socket, volume, plaintext }) => {
      const disk = volume.disk!
      const { writeFrom } = disk
      const held: (() => void)[] = []
      disk.writeFrom = (offset, length, at, memory, from, ended) =>
        writeFrom.call(disk, offset, length, at, memory, from, (error) => void held.push(() => ended(error)))
      const peer = await RawPeer.going(socket)
      const bytes = randomBytes(SECTOR)
      peer.say(Buffer.concat([RawPeer.request(1, BigInt(SIZE - SECTOR), SECTOR, { cookie: 1n }), bytes]))
      while (held.length === 0) await setImmediate()
      peer.socket.pause()
      // Of no whole sectors, and longer than sockets hold.
      const length = 8 << 20
      peer.say(RawPeer.request(0, 1n, length, { cookie: 2n }))
      while (volume.counters.reads === 0) await setImmediate()
      for (let turn = 0; turn < 50; turn++) await setImmediate()
      held[0]!()
      for (let turn = 0; turn < 50; turn++) await setImmediate()
      peer.socket.resume()
      const cookieOf = (reply: Buffer) => reply.readBigUInt64BE(8)
      assert.equal(cookieOf(await peer.take(16)), 2n)
      assert.ok((await peer.take(length)).equals(plaintext.subarray(1, 1 + length)))
      assert.equal(cookieOf(await peer.take(16)), 1n)
      peer.destroy()
    }))

  test(`${engine}: a write of part of a sector waits for the whole sector under way`, () =>
    served(engine, true, async ({ path, socket, plaintext }) => {
      const clients = await Promise.all([0, 1].map(() => NbdClient.connect(socket)))
      try {
        for (let round = 0; round < 4; round++) {
          const whole = randomBytes(64 * KIB)
          const parts = Array.from({ length: 4 }, () => randomBytes(7))
          await Promise.all([
            clients[0]!.write(0, whole),
            ...parts.map((part, index) => clients[1]!.write(index * SECTOR + 100, part)),
          ])
          const written = xts(key, true, SECTOR, 0, readFileSync(path).subarray(OFFSET, OFFSET + 64 * KIB))
          parts.forEach((part, index) => {
            const at = index * SECTOR
            const expected = Buffer.from(whole.subarray(at, at + SECTOR))
            const got = written.subarray(at, at + SECTOR)
            // One of them was last; nothing else of the sector is from before either.
            if (!got.equals(expected)) assert.ok(got.subarray(100, 107).equals(part))
            assert.ok(got.subarray(107).equals(expected.subarray(107)))
          })
          plaintext.set(written)
        }
      } finally {
        for (const client of clients) await client[Symbol.asyncDispose]()
      }
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
    for (let round = 0; round < 4; round++) {
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
