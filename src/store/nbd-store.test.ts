/** What a server may still do when its connection is given up, and what that forbids. nbdkit's part: test/store. */
import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { type Asked, FakeServer } from "../testing/fake-nbd-server.ts"
import { NbdStore, type NbdStoreOptions } from "./nbd-store.ts"
import { openStore } from "./open.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-store-"))
after(() => rmSync(folder, { recursive: true }))
const SIZE = 1 << 16
const [READ, WRITE, DISC, FLUSH, TRIM] = [0, 1, 2, 3, 4]
/** Has flags, FLUSH, TRIM. */
const FLAGS = 1 | 4 | 32
const ESHUTDOWN = 108
const TIMEOUT_MS = 100

interface At {
  readonly server: FakeServer
  readonly store: NbdStore
  readonly disk: Buffer
  readonly log: string[]
  readonly path: string
}

/** `answer` returns true for what it has answered itself; all else is done at once. */
async function withServer(
  answer: (asked: Asked, connection: number, disk: Buffer) => boolean | undefined,
  body: (at: At) => Promise<void>,
  options: NbdStoreOptions = {},
): Promise<void> {
  const path = join(mkdtempSync(join(folder, "s-")), "nbd.sock")
  const disk = Buffer.alloc(SIZE)
  const server = new FakeServer(SIZE, {
    path,
    flags: FLAGS,
    answer(asked, connection) {
      if (answer(asked, connection, disk) === true) return
      const { type, offset, length, payload, reply, socket } = asked
      if (type === DISC) socket.end()
      else if (type === READ) reply(0, Buffer.from(disk.subarray(offset, offset + length)))
      else {
        payload.copy(disk, offset)
        reply()
      }
    },
  })
  await server.listen()
  const log: string[] = []
  const store = await NbdStore.open(
    { at: { path }, exportName: "" },
    { timeoutMs: TIMEOUT_MS, ...options, log: (message) => log.push(message) },
  )
  try {
    await body({ server, store, disk, log, path })
  } finally {
    server.close()
    await store.close()
  }
}

const pending = async (work: Promise<unknown>, ms: number): Promise<boolean> =>
  Promise.race([
    work.then(
      () => false,
      () => false,
    ),
    sleep(ms, true),
  ])

test("a write that stalls is not made again before the server has ended the old connection", async () => {
  let late: Asked | null = null
  await withServer(
    (asked, connection, disk) => {
      if (connection > 0 || asked.type === FLUSH) return false
      if (asked.type === DISC) return true
      late = asked
      void disk
      return true
    },
    async ({ store, server, disk, log }) => {
      const old = Buffer.alloc(4096, "old")
      const write = store.write(0, old)
      // Far past its time: it is given up, and the next connection is still not made.
      assert.equal(await pending(write, 5 * TIMEOUT_MS), true)
      assert.equal(server.connections, 1)
      assert.deepEqual(log, ["the connection to the NBD server is lost"])
      // It did the write after all, and ends without a word.
      late!.payload.copy(disk, 0)
      late!.socket.destroy()
      await write
      assert.equal(server.connections, 2)
      assert.equal(log.at(-1), "the NBD server is back")
      await store.write(0, Buffer.alloc(4096, "new"))
      await store.flush()
      assert.ok(disk.subarray(0, 4096).equals(Buffer.alloc(4096, "new")))
    },
  )
})

test("a server that never ends the old connection: requests end in EIO, and nothing is written meanwhile", async () => {
  let late: Asked | null = null
  let writes = 0
  await withServer(
    (asked, connection) => {
      if (asked.type === WRITE) writes++
      if (connection > 0) return false
      if (asked.type === WRITE) late = asked
      return asked.type === WRITE || asked.type === DISC
    },
    async ({ store, server }) => {
      await assert.rejects(store.write(0, Buffer.alloc(512, 1)), { code: "EIO" })
      await assert.rejects(store.write(0, Buffer.alloc(512, 2)), { code: "EIO" })
      await assert.rejects(store.read(0, Buffer.alloc(512)), { code: "EIO" })
      assert.deepEqual([server.connections, writes], [1, 1])
      late!.socket.destroy()
      for (;;) {
        const done = await store.write(0, Buffer.alloc(512, 3)).then(
          () => true,
          () => false,
        )
        if (done) break
        await sleep(20)
      }
      assert.equal(server.connections, 2)
    },
    { lossGraceMs: 300 },
  )
})

test("a read that stalls is asked again at once: nothing is changed by it", async () => {
  await withServer(
    ({ type }, connection) => connection === 0 && (type === READ || type === DISC),
    async ({ store, server }) => {
      await store.read(0, Buffer.alloc(512))
      assert.equal(server.connections, 2)
    },
  )
})

test("a server that is being stopped is a lost connection, not an error", async () => {
  await withServer(
    ({ type, reply, socket }, connection) => {
      if (connection > 1 || type === DISC) return false
      reply(ESHUTDOWN)
      if (type !== WRITE) socket.end()
      return true
    },
    async ({ store, server, disk }) => {
      const bytes = Buffer.alloc(4096, 7)
      await store.write(4096, bytes)
      const read = Buffer.alloc(4096)
      await store.read(4096, read)
      await store.flush()
      assert.ok(read.equals(bytes))
      assert.ok(disk.subarray(4096, 8192).equals(bytes))
      assert.equal(server.connections, 3)
    },
  )
})

test("after an export has grown, a connection that knows its old size is not used", async () => {
  const limits: number[] = []
  await withServer(
    ({ type, offset, length, reply }, connection) => {
      // As servers do: a connection keeps the size it began with.
      if (type !== WRITE || offset + length <= limits[connection]!) return false
      reply(28)
      return true
    },
    async ({ store, server, path }) => {
      void path
      limits[0] = SIZE
      server.size = 2 * SIZE
      limits[1] = limits[2] = 2 * SIZE
      assert.equal(await store.refresh(), 2 * SIZE)
      assert.equal(store.size, 2 * SIZE)
      await store.write(SIZE + 512, Buffer.alloc(512, 1))
      server.size = SIZE
      assert.equal(await store.refresh(), SIZE)
      assert.equal(store.size, 2 * SIZE)
    },
  )
})

test("a discard is rounded inwards, and one of nothing is not sent", async () => {
  const trims: [number, number][] = []
  await withServer(
    ({ type, offset, length }) => {
      if (type === TRIM) trims.push([offset, length])
      return false
    },
    async ({ store }) => {
      await store.discard(100, 1000)
      await store.discard(100, 0)
      assert.deepEqual(trims, [[100, 1000]])
    },
  )
})

/** A store that opens after all is closed: its connections would keep the process. */
async function opens(uri: string, options: { readOnly: boolean; owner?: object }): Promise<void> {
  await (await openStore(uri, { direct: false, ...options })).close()
}

test("one export has one writer, however its URI is spelled, in this process too", async () => {
  await withServer(
    () => false,
    async ({ path }) => {
      const link = join(folder, "link")
      symlinkSync(path, link)
      const elsewhere = join(folder, "elsewhere")
      mkdirSync(elsewhere)
      for (const spelled of [path, link, join(elsewhere, "..", path.slice(folder.length))]) {
        for (const options of [{ readOnly: true }, { readOnly: false }, { readOnly: false, owner: {} }]) {
          await assert.rejects(opens(`nbd+unix:///?socket=${spelled}`, options), {
            code: "STORE_BUSY",
            exitCode: 5,
            message: new RegExp(`in use by .*\\(process ${process.pid}\\)`),
          })
        }
      }
      // Another export of the same server.
      await opens(`nbd+unix:///other?socket=${path}`, { readOnly: false })
    },
  )
})

test("data and header of one volume have an export together, until the last is closed", async () => {
  const owner = {}
  await withServer(
    () => false,
    async ({ path, store }) => {
      const uri = `nbd+unix:///?socket=${path}`
      const header = await openStore(uri, { direct: false, readOnly: false, owner })
      try {
        await opens(uri, { readOnly: true, owner })
        await store.close()
        await assert.rejects(opens(uri, { readOnly: false, owner: {} }), { code: "STORE_BUSY" })
      } finally {
        await header.close()
      }
      await opens(uri, { readOnly: false, owner: {} })
    },
    { owner },
  )
})

test("what another process wrote is read from a new connection, unless the server says that all see the same", async () => {
  const SEES_THE_SAME = 256
  for (const [flags, connection] of [
    [FLAGS, 1],
    [FLAGS | SEES_THE_SAME, 0],
  ] as const) {
    const path = join(mkdtempSync(join(folder, "s-")), "nbd.sock")
    const server = new FakeServer(SIZE, {
      path,
      flags,
      answer({ type, length, socket, reply }, number) {
        if (type === DISC) socket.end()
        else reply(0, Buffer.alloc(length, number))
      },
    })
    await server.listen()
    const store = await NbdStore.open({ at: { path }, exportName: "" })
    const seen = async () => {
      const bytes = Buffer.alloc(4096)
      await store.read(0, bytes)
      return bytes[0]
    }
    assert.equal(await seen(), 0)
    await store.resync()
    assert.equal(await seen(), connection)
    server.close()
    await store.close()
  }
})
