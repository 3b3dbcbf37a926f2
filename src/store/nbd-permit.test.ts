/** An NBD store whose permit runs out: nothing is sent without it, also of what waited somewhere meanwhile. */
import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import { type Deferred, deferred } from "../base/deferred.ts"
import { IoError } from "../base/io-error.ts"
import { type Asked, FakeServer } from "../testing/fake-nbd-server.ts"
import { NbdStore, type NbdStoreOptions } from "./nbd-store.ts"
import type { Permit } from "./store.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-permit-"))
after(() => rmSync(folder, { recursive: true }))
const SIZE = 32 << 20
const [READ, WRITE, DISC, FLUSH, TRIM] = [0, 1, 2, 3, 4]
const FLAGS = 1 | 4 | 32

class FakePermit implements Permit {
  refusal: IoError | null = null
  readonly #ended = deferred<void>()
  #again: Deferred<void> = deferred()

  get ended(): Promise<void> {
    return this.#ended.promise
  }

  regained(): Promise<void> {
    return this.#again.promise
  }

  lapse(): void {
    this.#again = deferred()
    this.refusal = new IoError("EIO", "late")
  }

  grant(): void {
    this.refusal = null
    this.#again.resolve()
  }

  /** Requests are not to wait any more. */
  expire(): void {
    this.#again.reject(this.refusal!)
  }

  lose(): void {
    this.refusal = new IoError("EIO", "taken by another")
    this.#again.reject(this.refusal)
    this.#ended.resolve()
  }
}

interface At {
  readonly server: FakeServer
  readonly store: NbdStore
  readonly permit: FakePermit
  /** Types of what the server was asked, goodbyes left out. */
  readonly asked: number[]
  readonly log: string[]
}

/** `answer` returns true for what it has answered itself. */
async function withStore(
  answer: (asked: Asked, connection: number, permit: FakePermit) => boolean | undefined,
  body: (at: At) => Promise<void>,
  options: NbdStoreOptions = {},
): Promise<void> {
  const path = join(mkdtempSync(join(folder, "s-")), "nbd.sock")
  const permit = new FakePermit()
  const asked: number[] = []
  const server = new FakeServer(SIZE, {
    path,
    flags: FLAGS,
    answer(each, connection) {
      if (each.type !== DISC) asked.push(each.type)
      if (answer(each, connection, permit) === true) return
      if (each.type === DISC) each.socket.end()
      else each.reply(0, Buffer.alloc(each.type === READ ? each.length : 0))
    },
  })
  await server.listen()
  const log: string[] = []
  const target = { at: { path }, exportName: "" }
  const store = await NbdStore.open(target, { permit, timeoutMs: 60_000, log: (m) => log.push(m), ...options })
  try {
    await body({ server, store, permit, asked, log })
  } finally {
    server.close()
    await store.close()
  }
}

/** Every kind of request there is. */
const all = (store: NbdStore) => [
  store.read(0, Buffer.alloc(512)),
  store.write(0, Buffer.alloc(512)),
  store.discard(0, 512),
  store.flush(),
]

const served = () => false

test("requests wait while the permit is late, and are sent when it is granted again", () =>
  withStore(served, async ({ store, permit, asked }) => {
    permit.lapse()
    const requests = all(store)
    await sleep(20)
    assert.deepEqual(asked, [])
    permit.grant()
    await Promise.all(requests)
    assert.deepEqual(asked.toSorted(), [READ, WRITE, FLUSH, TRIM].toSorted())
  }))

test("requests end in its words when it is not to be waited for, and none is sent", () =>
  withStore(served, async ({ store, permit, asked }) => {
    permit.lapse()
    const requests = all(store)
    await turn()
    permit.expire()
    for (const request of [...requests, ...all(store)]) {
      await assert.rejects(request, { code: "EIO", message: "late" })
    }
    assert.deepEqual(asked, [])
    permit.grant()
    await store.write(0, Buffer.alloc(512))
    assert.deepEqual(asked, [WRITE])
  }))

test("once it has ended, requests under way and later ones end, and the server is never called again", () =>
  withStore(
    ({ type }) => type === READ,
    async ({ store, permit, asked, server, log }) => {
      const read = store.read(0, Buffer.alloc(512))
      read.catch(() => {})
      const late = store.write(0, Buffer.alloc(512))
      await late
      while (asked.length < 2) await turn()
      permit.lose()
      for (const request of [read, ...all(store)]) {
        await assert.rejects(request, { code: "EIO", message: "taken by another" })
      }
      assert.deepEqual(store.server, { state: "ended", reason: "taken by another" })
      assert.equal(log.at(-1), "the store is used no more")
      await store.close()
      assert.equal(server.connections, 1)
      assert.deepEqual(asked, [READ, WRITE])
    },
  ))

test("a permit that ends while there is no connection ends the store too", () =>
  withStore(served, async ({ store, permit, server }) => {
    server.close()
    while (store.server.state !== "waiting") await turn()
    const write = store.write(0, Buffer.alloc(512))
    permit.lose()
    await assert.rejects(write, { code: "EIO", message: "taken by another" })
  }))

test("writes that a lost server may have dropped are not given again without a permit", async () => {
  await withStore(
    ({ type, socket }, connection, permit) => {
      if (type !== READ || connection > 0) return false
      permit.lapse()
      socket.destroy()
      return true
    },
    async ({ store, permit, asked, server, log }) => {
      await store.write(0, Buffer.alloc(512))
      const read = store.read(0, Buffer.alloc(512))
      read.catch(() => {})
      while (!log.includes("the connection to the NBD server is lost")) await turn()
      // Longer than the delay before the next connection, which is at most 63 ms.
      await sleep(200)
      assert.equal(server.connections, 1)
      permit.grant()
      await read
      assert.deepEqual(asked, [WRITE, READ, WRITE, READ])
    },
  )
})

test("a permit that is late when the connection is there again stops giving again; the next flush does it", async () => {
  let lapsing = true
  await withStore(
    ({ type, socket }, connection) => {
      if (type !== READ || connection > 0) return false
      socket.destroy()
      return true
    },
    async ({ store, permit, asked, server }) => {
      await store.write(0, Buffer.alloc(512))
      // Late from the moment at which the server is connected to.
      Object.defineProperty(permit, "refusal", {
        get: () => (lapsing && server.connections > 1 ? new IoError("EIO", "late") : null),
        set() {},
      })
      const read = store.read(0, Buffer.alloc(512))
      read.catch(() => {})
      while (server.connections < 2 || store.server.state !== "connected") await turn()
      assert.deepEqual(asked, [WRITE, READ])
      lapsing = false
      permit.grant()
      await read
      await store.flush()
      assert.deepEqual(asked, [WRITE, READ, READ, WRITE, FLUSH])
    },
  )
})

test("of what waits for a server that does not read, one request at most is sent after the permit has run out", () => {
  let stuck: Asked | null = null
  return withStore(
    (each) => {
      if (each.type !== READ) return false
      stuck = each
      each.socket.pause()
      return true
    },
    async ({ store, permit, asked }) => {
      const read = store.read(0, Buffer.alloc(512))
      read.catch(() => {})
      while (stuck === null) await turn()
      // The first does not fit the kernel's buffers.
      const writes = Array.from({ length: 8 }, (_, i) => store.write(i << 20, Buffer.alloc(1 << 20)))
      for (const write of writes) write.catch(() => {})
      await sleep(50)
      permit.lapse()
      stuck.socket.resume()
      await writes[0]
      await sleep(50)
      assert.deepEqual(asked, [READ, WRITE])
      permit.grant()
      await Promise.all(writes)
      assert.equal(asked.length, 9)
      stuck.reply(0, Buffer.alloc(512))
      await read
    },
  )
})

test("a silent server that is given up keeps nobody waiting who waited to send", async () => {
  let stuck: Asked | null = null
  await withStore(
    (each, connection) => {
      if (connection > 0 || each.type === DISC) return each.type === DISC
      stuck = each
      each.socket.pause()
      return true
    },
    async ({ store }) => {
      const writes = Array.from({ length: 4 }, (_, i) => store.write(i << 20, Buffer.alloc(1 << 20)))
      for (const write of writes) {
        await assert.rejects(write, { code: "EIO", message: /did not come back within 0\.1 s.*down or full/ })
      }
      assert.equal(store.server.state, "failing")
      stuck!.socket.destroy()
    },
    { timeoutMs: 100, lossGraceMs: 100 },
  )
})
