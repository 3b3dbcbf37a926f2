/**
 * As root: volumes in a filesystem that is frozen (fsfreeze(8)) under load. Their writes wait, and nothing else does: other
 * connections, reads, a lock, a close. Thawed, everything is answered and is what OpenSSL says.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import { serveNbd } from "../../src/export/server.ts"
import { createEnclave } from "../../src/native/addon.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import { FileStore } from "../../src/store/file-store.ts"
import { makeVolume, startImage, unlock } from "../../src/testing/real-image.ts"
import { xts } from "../../src/testing/test-enclave.ts"
import { Volume } from "../../src/volume/volume.ts"
import { Place, root } from "../cli/harness.ts"
import { succeed } from "./harness.ts"

const SECTOR = 4096
const MIB = 1 << 20
const SIZE = 32 * MIB
/** From here on nothing is in the page cache. */
const COLD = 24 * MIB

// Not in /tmp, which may be a tmpfs.
const folder = mkdtempSync(join(root, "node_modules", ".tresor-frozen-"))
const image = join(folder, "image")
const mounted = join(folder, "mounted")
mkdirSync(mounted)
writeFileSync(image, "")
truncateSync(image, 256 * MIB)
await succeed("mkfs.ext4", "-q", "-F", image)
await succeed("mount", "-o", "loop", image, mounted)

const place = new Place()
const enclave = await startImage(createEnclave, "software")
after(async () => {
  await enclave[Symbol.asyncDispose]()
  // What a close left to the filesystem keeps its descriptors until this process ends.
  await succeed("umount", "--lazy", mounted)
  rmSync(folder, { recursive: true })
})
const { header, key } = await makeVolume(enclave)

/** Should we hang there ourselves, somebody else thaws it. */
async function whileFrozen(body: () => Promise<void>): Promise<void> {
  const thaw = spawn("sh", ["-c", `sleep 30; fsfreeze --unfreeze ${mounted}`], { detached: true, stdio: "ignore" })
  await succeed("fsfreeze", "--freeze", mounted)
  try {
    await body()
  } finally {
    await succeed("fsfreeze", "--unfreeze", mounted)
    process.kill(-thaw.pid!, "SIGKILL")
  }
}

interface Served {
  readonly path: string
  readonly socket: string
  readonly volume: Volume
  readonly open: () => Promise<void>
}

/** Its plaintext is that of random bytes, of which those behind COLD are not in the page cache. */
async function served(
  engine: "ring" | "threads",
  direct: boolean,
  ioThreads: number,
  body: (at: Served, plaintext: Buffer) => Promise<void>,
): Promise<void> {
  const path = join(mounted, `${engine}-${direct}`)
  const ciphertext = randomBytes(SIZE)
  writeFileSync(path, ciphertext)
  await succeed("sync", path)
  await succeed(
    "dd",
    `if=${path}`,
    "of=/dev/null",
    "status=none",
    "iflag=nocache,skip_bytes",
    `skip=${COLD}`,
    "count=0",
  )
  const store = await FileStore.open(path, { transfers: engine, direct, ioThreads })
  const limits = { closeGraceMs: 500, flushGraceMs: 500 }
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: SECTOR, ...limits })
  const open = async () => volume.unlock(enclave, (await unlock(enclave, header)).handle)
  await open()
  const socket = join(folder, "nbd.sock")
  const server = await serveNbd({ path: socket, volume, stallMs: 500 })
  try {
    await body({ path, socket, volume, open }, xts(key, true, SECTOR, 0, ciphertext))
  } finally {
    await server.close()
    await volume.close().catch(() => {})
    rmSync(path)
  }
}

const passed = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

for (const engine of ["ring", "threads"] as const) {
  for (const [direct, ioThreads] of [
    [false, 0],
    [true, 0],
    [true, 2],
  ] as const) {
    const name = `${engine}${direct ? ", direct" : ""}${ioThreads > 0 ? ", I/O threads" : ""}`

    test(`${name}: while the filesystem is frozen, its writes wait and nothing else does`, () =>
      served(engine, direct, ioThreads, async ({ path, socket, volume, open }, plaintext) => {
        const writers = await Promise.all(Array.from({ length: 4 }, () => NbdClient.connect(socket)))
        await writers[0]!.write(0, plaintext.subarray(0, SECTOR))
        const waiting: Promise<void>[] = []
        let ended = 0
        const write = (client: number, offset: number, length: number, fua = false) => {
          const bytes = randomBytes(length)
          plaintext.set(bytes, offset)
          waiting.push(writers[client]!.write(offset, bytes, { fua }).finally(() => ended++))
        }
        await whileFrozen(async () => {
          // Small ones, the same sectors again, large ones for more than all memory of the slow path, parts, FUA.
          for (let at = 0; at < 100; at++) write(0, at * SECTOR, SECTOR)
          await passed(100)
          for (let at = 0; at < 20; at++) write(1, at * SECTOR, 2 * SECTOR)
          for (let at = 0; at < 12; at++) write(2, (1 + at) * MIB, MIB)
          write(3, 14 * MIB, MIB + SECTOR)
          for (let at = 0; at < 16; at++) write(3, 16 * MIB + 8 * at * SECTOR + 100, 1000)
          write(3, 17 * MIB, SECTOR, true)
          await passed(100)
          for (let round = 0; round < 3; round++) {
            await using other = await NbdClient.connect(socket)
            for (const at of [
              20 * MIB + round * SECTOR,
              20 * MIB + 100,
              COLD + round * MIB,
              COLD + (3 + round) * MIB + 100,
            ]) {
              assert.ok((await other.read(at, MIB)).equals(plaintext.subarray(at, at + MIB)))
            }
          }
          await using other = await NbdClient.connect(socket)
          await other.flush()
          volume.lock()
          assert.equal(volume.state, "locked")
          await open()
          assert.equal(ended, 0)
        })
        await Promise.all(waiting)
        await writers[0]!.flush()
        for (let at = 0; at < SIZE; at += MIB) {
          assert.ok((await writers[0]!.read(at, MIB)).equals(plaintext.subarray(at, at + MIB)), `at ${at}`)
        }
        assert.ok(xts(key, true, SECTOR, 0, readFileSync(path)).equals(plaintext))
        for (const writer of writers) await writer[Symbol.asyncDispose]()
      }))

    test(`${name}: a volume closes while the filesystem is frozen, and says what it left`, () =>
      served(engine, direct, ioThreads, async ({ path, socket, volume }, plaintext) => {
        const client = await NbdClient.connect(socket)
        const [first, second] = [randomBytes(SECTOR), randomBytes(SECTOR)]
        await client.write(0, first)
        await whileFrozen(async () => {
          const waiting = client.write(SECTOR, second)
          const lost = assert.rejects(waiting)
          await passed(50)
          await assert.rejects(volume.close(), { code: "EIO" })
          await client[Symbol.asyncDispose]()
          await lost
        })
        // What was answered is there; what was not may be, or what was there before.
        await passed(50)
        const found = xts(key, true, SECTOR, 0, readFileSync(path).subarray(0, 2 * SECTOR))
        assert.ok(found.subarray(0, SECTOR).equals(first))
        const before = plaintext.subarray(SECTOR, 2 * SECTOR)
        assert.ok([before, second].some((one) => found.subarray(SECTOR).equals(one)))
      }))
  }
}

test("while the filesystem is frozen, tresord answers status and lock", async () => {
  const { path, keyFile } = await place.volume("frozen.img")
  const inside = join(mounted, "frozen.img")
  await succeed("cp", path, inside)
  const command = async (...words: string[]) => {
    const done = await place.tresor(words)
    assert.equal(done.code, 0, done.stderr)
    return done.stdout
  }
  await command("open", inside, "frozen", "--key-file", keyFile, "--io-threads", "2")
  const client = await NbdClient.connect(join(place.runtime, "frozen", "nbd.sock"))
  let waiting: Promise<unknown> = Promise.resolve()
  await whileFrozen(async () => {
    waiting = Promise.all(Array.from({ length: 16 }, (_, at) => client.write(at * SECTOR, Buffer.alloc(SECTOR, at))))
    await passed(50)
    assert.match(await command("status", "frozen"), /io_uring, 2 I\/O threads/)
    await command("lock", "frozen")
    assert.match(await command("status", "frozen"), /locked/)
    await command("setkey", "frozen", "--key-file", keyFile)
  })
  await waiting
  assert.deepEqual(await client.read(15 * SECTOR, SECTOR), Buffer.alloc(SECTOR, 15))
  await client[Symbol.asyncDispose]()
  await command("close", "frozen")
})
