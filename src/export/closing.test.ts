/** The end of a server and of its volume: within a limited time, whatever clients and disks do. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../nbd/client.ts"
import { RawPeer, STALL_MS, served } from "../testing/nbd-export.ts"

const MIB = 1 << 20
const ESHUTDOWN = 108
/** On a machine that has much else to do. */
const SLACK_MS = 15_000

async function timed(work: Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work
  return performance.now() - began
}

const forever = () => new Promise<void>(() => {})

test("close does not wait for a client that takes no answers", () =>
  served(
    async ({ path, server }) => {
      const peer = await RawPeer.going(path)
      peer.socket.pause()
      peer.say(Buffer.concat(Array.from({ length: 40 }, () => RawPeer.request(0, 0n, MIB))))
      await sleep(50)
      assert.ok((await timed(server.close())) < STALL_MS + SLACK_MS)
    },
    { size: 2 * MIB },
  ))

test("close ends giant requests at their next step, and answers those that have not begun with ESHUTDOWN", () =>
  served(
    async ({ path, server, store }) => {
      store.before = () => sleep(5)
      const peer = await RawPeer.going(path)
      // 200: more than are served at one time.
      peer.say(Buffer.concat(Array.from({ length: 200 }, () => RawPeer.request(6, 0n, 64 * MIB))))
      while (store.begun.length < 3) await sleep(1)
      const took = timed(server.close())
      let refused = 0
      for (let n = 0; n < 200; n++) if ((await peer.simple()) === ESHUTDOWN) refused++
      assert.equal(refused, 200)
      await peer.cutOff()
      assert.ok((await took) < 2000 + SLACK_MS)
      store.before = () => {}
    },
    // Half of it is for the answers, on a machine that has much else to do.
    { size: 64 * MIB, stallMs: 2000 },
  ))

test("close lets a short request end that has begun", () =>
  served(async ({ path, server, store }) => {
    store.before = () => sleep(STALL_MS / 4)
    await using client = await NbdClient.connect(path)
    const write = client.write(0, Buffer.alloc(4096, 1))
    while (store.begun.length === 0) await sleep(1)
    await Promise.all([server.close(), write])
    store.before = () => {}
  }))

for (const [what, type] of [
  ["CACHE", 5],
  ["WRITE_ZEROES", 6],
  ["READ", 0],
] as const)
  test(`${what} of a client that left is not gone on with`, () =>
    served(
      async ({ path, store, server }) => {
        store.before = () => sleep(2)
        const peer = await RawPeer.going(path)
        const request = RawPeer.request(type, 0n, type === 0 ? 32 * MIB : 64 * MIB)
        peer.say(Buffer.concat(Array.from({ length: 100 }, () => request)))
        while (store.begun.length < 2) await sleep(1)
        peer.destroy()
        while (server.connections > 0) await sleep(1)
        await sleep(50)
        const begun = store.begun.length
        assert.ok(begun < 500, `${begun} steps of 6,400`)
        await sleep(100)
        assert.equal(store.begun.length, begun)
      },
      { size: 64 * MIB, stallMs: 2000 },
    ))

test("who says goodbye gets what was asked for before it", () =>
  served(async ({ path, store }) => {
    store.before = () => sleep(20)
    const peer = await RawPeer.going(path)
    const zeroes = Array.from({ length: 4 }, (_, n) => RawPeer.request(6, BigInt(n * 4096), 4096))
    peer.say(Buffer.concat([...zeroes, RawPeer.request(2, 0n, 0)]))
    peer.socket.end()
    for (let n = 0; n < 4; n++) assert.equal(await peer.simple(), 0)
    assert.equal(store.done.filter((kind) => kind === "write").length, 4)
  }))

test("a disk that hangs keeps neither the server, nor the keys, nor close", async () => {
  await served(
    async ({ path, server, volume, store, enclave }) => {
      await using client = await NbdClient.connect(path)
      store.before = forever
      const write = client.write(0, Buffer.alloc(4096))
      write.catch(() => {})
      while (store.begun.length === 0) await sleep(1)
      assert.ok((await timed(server.close())) < STALL_MS + SLACK_MS)
      await assert.rejects(write)
      const closed = volume.close()
      await assert.rejects(closed, { code: "EIO", message: /did not flush|unanswered/ })
      assert.equal(enclave.closed.length, 1)
      assert.equal(volume.state, "closed")
      throw new Error("as far as the end")
    },
    { closeGraceMs: 50, flushGraceMs: 50 },
  ).catch((error: Error) => {
    // `served` closes the volume again, which rejects again.
    assert.match(error.message, /as far as the end|did not flush|unanswered/)
  })
})

test("close holds no keys while it flushes", () =>
  served(async ({ volume, store, enclave, server }) => {
    let open!: () => void
    const gate = new Promise<void>((resolve) => (open = resolve))
    store.before = () => gate
    await server.close()
    const closed = volume.close()
    while (store.begun.length === 0) await sleep(1)
    assert.deepEqual(store.begun, [{ kind: "flush" }])
    assert.equal(enclave.closed.length, 1)
    open()
    await closed
  }))

test("lock wipes in the middle of close", () =>
  served(
    async ({ volume, store, enclave }) => {
      let open!: () => void
      const gate = new Promise<void>((resolve) => (open = resolve))
      store.before = () => gate
      const write = volume.write(0, Buffer.alloc(4096))
      while (store.begun.length === 0) await sleep(1)
      const closed = volume.close()
      assert.equal(volume.state, "closing")
      assert.equal(enclave.closed.length, 0)
      volume.lock()
      assert.equal(enclave.closed.length, 1)
      assert.equal(volume.state, "closing")
      open()
      await Promise.all([write, closed])
      volume.lock()
    },
    { closeGraceMs: 10_000 },
  ))

test("clients past the limit are turned away, and counted; those there are served", () =>
  served(
    async ({ path, server }) => {
      await using one = await NbdClient.connect(path)
      await using two = await NbdClient.connect(path)
      await assert.rejects(NbdClient.connect(path))
      assert.deepEqual([server.connections, server.refused], [2, 1])
      assert.deepEqual(server.clients(), [process.pid, process.pid])
      await Promise.all([one.read(0, 512), two.read(0, 512)])
    },
    { most: 2 },
  ))
