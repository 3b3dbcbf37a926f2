/** Peers that lie, stop or want everything; an honest one is served all the while. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import fc from "fast-check"
import { NbdClient } from "../nbd/client.ts"
import { RawPeer, type Scratch, STALL_MS, served } from "../testing/nbd-export.ts"
import { ownTime } from "../testing/own-time.ts"
import { runs } from "../testing/runs.ts"

const MIB = 1 << 20
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28]

/** Runs `body` beside an honest client that never waits long. */
function disturbed(body: (at: Scratch) => Promise<void>, options: Parameters<typeof served>[1] = {}): Promise<void> {
  return served(async (at) => {
    await using client = await NbdClient.connect(at.path)
    let over = false
    let slowest = 0
    const honest = (async () => {
      while (!over) {
        const started = ownTime()
        await client.read(0, 512)
        slowest = Math.max(slowest, ownTime() - started)
        await sleep(5)
      }
    })()
    try {
      await body(at)
    } finally {
      over = true
      await honest
    }
    assert.ok(slowest < 2000, `an honest client waited ${slowest} ms`)
  }, options)
}

test("lies about a request get the protocol's error, and the next request is served", () =>
  disturbed(async ({ path, volume }) => {
    const peer = await RawPeer.going(path)
    const end = BigInt(volume.size)
    for (const [what, type, offset, length, error, flags] of [
      ["a command nobody knows", 99, 0n, 0, EINVAL, 0],
      ["a flag nobody knows", 0, 0n, 512, EINVAL, 0x8000],
      ["NO_HOLE on a read", 0, 0n, 512, EINVAL, 2],
      ["DF without structured replies", 0, 0n, 512, EINVAL, 4],
      ["FAST_ZERO, which is not offered", 6, 0n, 512, EINVAL, 16],
      ["a read past the end", 0, end - 1n, 2, EINVAL, 0],
      ["a read whose end overflows", 0, 2n ** 64n - 1n, 4096, EINVAL, 0],
      ["a read of more than 32 MiB", 0, 0n, 32 * MIB + 1, EINVAL, 0],
      ["a read of 4 GiB", 0, 0n, 0xffffffff, EINVAL, 0],
      ["a write past the end", 1, end - 1n, 2, ENOSPC, 0],
      ["a write whose end overflows", 1, 2n ** 64n - 2n, 512, ENOSPC, 0],
      ["zeros past the end", 6, end, 1, ENOSPC, 0],
      ["zeros of 4 GiB", 6, 0n, 0xffffffff, ENOSPC, 0],
      ["TRIM, which is not offered", 4, 0n, 4096, EINVAL, 0],
      ["CACHE past the end", 5, end, 1, EINVAL, 0],
      ["BLOCK_STATUS without a context", 7, 0n, 512, EINVAL, 0],
    ] as const) {
      peer.say(Buffer.concat([RawPeer.request(type, offset, length, { flags }), Buffer.alloc(type === 1 ? length : 0)]))
      assert.equal(await peer.simple(), error, what)
    }
    peer.say(RawPeer.request(0, end - 1n, 1))
    assert.equal(await peer.simple(), 0)
    await peer.take(1)
    peer.destroy()
  }))

test("a read-only volume refuses changes with EPERM", () =>
  disturbed(
    async ({ path, store }) => {
      const peer = await RawPeer.going(path)
      peer.say(Buffer.concat([RawPeer.request(1, 0n, 512), Buffer.alloc(512)]))
      assert.equal(await peer.simple(), EPERM)
      peer.say(RawPeer.request(6, 0n, 512))
      assert.equal(await peer.simple(), EPERM)
      peer.say(RawPeer.request(3, 0n, 0))
      assert.equal(await peer.simple(), 0)
      assert.ok(store.begun.every(({ kind }) => kind === "read"))
      peer.destroy()
    },
    { readOnly: true },
  ))

for (const [what, bytes] of [
  ["a bad request magic", RawPeer.request(0, 0n, 512, { magic: 0x25609514 })],
  ["a write of more than 32 MiB", RawPeer.request(1, 0n, 32 * MIB + 1)],
] as const) {
  test(`who sends ${what} is cut off`, () =>
    disturbed(async ({ path, server, store }) => {
      const peer = await RawPeer.going(path)
      peer.say(bytes)
      await peer.cutOff()
      assert.equal(store.begun.filter(({ kind }) => kind === "write").length, 0)
      while (server.connections > 1) await sleep(5)
    }))
}

for (const [what, request, sent, rest] of [
  ["a request", RawPeer.request(0, 0n, 512), 20, 512],
  ["a payload", Buffer.concat([RawPeer.request(1, 0n, 512), Buffer.alloc(512)]), 300, 0],
  ["a large payload", Buffer.concat([RawPeer.request(1, 0n, 2 * MIB, { flags: 1 }), Buffer.alloc(2 * MIB)]), MIB, 0],
] as const) {
  const begun = `who stops within ${what}`
  test(`${begun} is waited for, as long as nobody needs the memory`, () =>
    disturbed(
      async ({ path, server }) => {
        const peer = await RawPeer.going(path)
        peer.say(request.subarray(0, sent))
        await sleep(5 * STALL_MS)
        assert.equal(server.connections, 2)
        peer.say(request.subarray(sent))
        assert.equal(await peer.simple(), 0)
        await peer.take(rest)
        peer.destroy()
      },
      { size: 4 * MIB },
    ))
}

test("who stops within a large payload is cut off when others wait for its memory", () =>
  disturbed(
    async ({ path, server }) => {
      const large = Buffer.alloc(24 * MIB)
      const head = RawPeer.request(1, 0n, large.length, { flags: 1 })
      const peer = await RawPeer.going(path)
      peer.say(Buffer.concat([head, large.subarray(0, MIB)]))
      await sleep(STALL_MS)
      const next = await RawPeer.going(path)
      next.say(Buffer.concat([head, large]))
      await peer.cutOff()
      assert.equal(await next.simple(), 0)
      next.destroy()
      while (server.connections > 1) await sleep(5)
    },
    { size: 24 * MIB },
  ))

test("who has chosen an export may be idle, who has not may not", () =>
  disturbed(async ({ path }) => {
    const idle = await RawPeer.going(path)
    const undecided = await RawPeer.greeted(path)
    await undecided.cutOff()
    await sleep(2 * STALL_MS)
    idle.say(RawPeer.request(3, 0n, 0))
    assert.equal(await idle.simple(), 0)
    idle.destroy()
  }))

test("DISC is followed by nothing but the answers still owed", () =>
  disturbed(async ({ path }) => {
    const peer = await RawPeer.going(path)
    peer.say(Buffer.concat([RawPeer.request(0, 0n, 512), RawPeer.request(2, 0n, 0), RawPeer.request(0, 0n, 512)]))
    assert.equal(await peer.simple(), 0)
    await peer.take(512)
    await peer.cutOff()
    await assert.rejects(peer.take(1), /cut off/)
  }))

test("whoever asks and never reads holds little, and lets go when others wait", () =>
  disturbed(
    async ({ path, server }) => {
      const before = process.memoryUsage().rss
      const peers: RawPeer[] = []
      const asks = Array.from({ length: 100 }, () => RawPeer.request(0, 0n, MIB))
      for (let n = 0; n < 40; n++) {
        const peer = await RawPeer.going(path)
        peer.socket.pause()
        peer.say(Buffer.concat(asks))
        peers.push(peer)
      }
      // Each would hold 4 MiB, together more than there is: the honest client of `disturbed` needs one of them cut off.
      let grown = 0
      for (let n = 0; n < 20; n++) {
        await sleep(50)
        grown = Math.max(grown, process.memoryUsage().rss - before)
      }
      assert.ok(grown < 160 * MIB, `grown by ${grown >> 20} MiB for 4 GiB asked for`)
      assert.ok(server.connections < 1 + peers.length, "nobody was cut off")
      for (const peer of peers) peer.destroy()
      while (server.connections > 1) await sleep(5)
    },
    { size: 2 * MIB },
  ))

test("a flood of options that are never read ends with the handshake's time", () =>
  disturbed(async ({ path, server }) => {
    const peer = await RawPeer.greeted(path)
    peer.socket.pause()
    for (let n = 0; n < 20_000; n++) peer.option(3, Buffer.alloc(0))
    while (server.connections > 1) await sleep(5)
    peer.destroy()
  }))

test("garbage of any kind ends its own connection only", () =>
  disturbed(async ({ path, server }) => {
    const request = fc
      .record({
        type: fc.nat(12),
        flags: fc.nat(0xffff),
        offset: fc.bigInt(0n, 2n ** 64n - 1n),
        length: fc.oneof(fc.nat(5000), fc.nat(0xffffffff)),
      })
      .map(({ type, flags, offset, length }) =>
        Buffer.concat([RawPeer.request(type, offset, length, { flags }), Buffer.alloc(type === 1 ? length % 5000 : 0)]),
      )
    const bytes = fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(request, bytes), { maxLength: 6 }),
        fc.boolean(),
        async (parts, structured) => {
          const peer = await RawPeer.going(path, { structured })
          for (const part of parts) peer.say(part)
          peer.socket.end()
          await peer.cutOff()
        },
      ),
      { numRuns: runs(150, 30) },
    )
    while (server.connections > 1) await sleep(5)
  }))

/** In full, two thousand. */
const CLIENTS = runs(2000, 400)

test(`${CLIENTS} clients at once are all served`, () =>
  served(
    async ({ path, volume }) => {
      const written = randomBytes(4096)
      await volume.write(0, written)
      const clients: NbdClient[] = []
      // Few at a time: whoever is slower than the handshake's time is cut off.
      while (clients.length < CLIENTS) {
        clients.push(...(await Promise.all(Array.from({ length: 25 }, () => NbdClient.connect(path)))))
      }
      const read = await Promise.all(clients.map((client) => client.read(0, 4096)))
      assert.ok(read.every((bytes) => bytes.equals(written)))
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
    },
    { stallMs: 10_000 },
  ))
