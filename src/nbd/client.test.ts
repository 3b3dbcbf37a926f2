import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import fc from "fast-check"
import type { IoError } from "../base/io-error.ts"
import { type Asked, FakeServer } from "../testing/fake-nbd-server.ts"
import { NbdClient } from "./client.ts"
import { negotiate, Pending, replies } from "./conversation.ts"
import { Receiver } from "./receiver.ts"

// Numbers are written out, as in RawPeer.
const big = (value: bigint | number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64BE(BigInt(value))
  return buffer.subarray(8 - bytes)
}
const simple = (cookie: number, error: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  Buffer.concat([big(0x67446698, 4), big(error, 4), big(cookie, 8), data])
const chunk = (cookie: number, type: number, done: boolean, payload: Uint8Array = new Uint8Array(0)): Buffer =>
  Buffer.concat([
    big(0x668e33ef, 4),
    big(done ? 1 : 0, 2),
    big(type, 2),
    big(cookie, 8),
    big(payload.length, 4),
    payload,
  ])
const dataChunk = (cookie: number, offset: number, data: Uint8Array, done = false): Buffer =>
  chunk(cookie, 1, done, Buffer.concat([big(offset, 8), data]))
const holeChunk = (cookie: number, offset: number, size: number, done = false): Buffer =>
  chunk(cookie, 2, done, Buffer.concat([big(offset, 8), big(size, 4)]))
const errorChunk = (cookie: number, error: number, done = true): Buffer =>
  chunk(cookie, 0x8001, done, Buffer.concat([big(error, 4), big(3, 2), Buffer.from("why")]))

/** What a socket does with `onread`: `cuts` are how much comes at a time. */
function feed({ onread }: Receiver, bytes: Buffer, cuts: readonly number[]): void {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const room = (onread.buffer as () => Uint8Array)()
    const count = Math.min(cuts[i % cuts.length]!, room.length, bytes.length - at)
    room.set(bytes.subarray(at, at + count))
    onread.callback(count, room)
    at += count
  }
}

interface Outcome {
  readonly data: Uint8Array
  error: string | null
  settled: boolean
}

/** Requests of given lengths, cookies from 1; a read at cookie * 1 MiB. */
function listening(lengths: readonly number[], structured = true) {
  const pending = new Map<number, Pending>()
  const outcomes = lengths.map((length, index): Outcome => {
    const outcome: Outcome = { data: new Uint8Array(length).fill(0xee), error: null, settled: false }
    const settle = (error: IoError | null) => {
      assert.equal(outcome.settled, false, "settles once")
      outcome.settled = true
      outcome.error = error?.code ?? null
    }
    const offset = (index + 1) << 20
    pending.set(
      index + 1,
      new Pending(
        offset,
        outcome.data,
        () => settle(null),
        (error) => settle(error),
      ),
    )
    return outcome
  })
  const failures: Error[] = []
  let signs = 0
  const receiver = new Receiver(
    replies(structured, pending, () => signs++),
    (error) => failures.push(error as Error),
  )
  return { receiver, outcomes, pending, failures, signs: () => signs }
}

const lengths = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 100_000 }))
const cutsOf = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 200_000 })), {
  minLength: 1,
  maxLength: 20,
})

test("chunks in any order, with holes and errors, received in any pieces, make the reads they answer", () => {
  const answer = fc.record({
    length: lengths,
    cuts: fc.array(fc.integer({ min: 1, max: 99_999 }), { maxLength: 4 }),
    holes: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
    fails: fc.option(fc.constantFrom(5, 22, 28), { freq: 4 }),
    backwards: fc.boolean(),
    seed: fc.nat(255),
  })
  fc.assert(
    fc.property(fc.array(answer, { minLength: 1, maxLength: 5 }), cutsOf, fc.nat(), (answers, cuts, order) => {
      const at = listening(answers.map(({ length }) => length))
      const expected: Buffer[] = []
      const queues = answers.map(({ length, cuts: inner, holes, fails, backwards, seed }, index) => {
        const cookie = index + 1
        const offset = cookie << 20
        const data = Buffer.alloc(length, (seed % 255) + 1)
        const edges = [...new Set([0, ...inner.filter((cut) => cut < length), length])].sort((a, b) => a - b)
        const chunks: Buffer[] = []
        edges.slice(1).forEach((end, i) => {
          const start = edges[i]!
          if (holes[i]!) {
            data.fill(0, start, end)
            chunks.push(holeChunk(cookie, offset + start, end - start))
          } else if (end > start) chunks.push(dataChunk(cookie, offset + start, data.subarray(start, end)))
        })
        if (backwards) chunks.reverse()
        expected.push(data)
        chunks.push(fails === null ? chunk(cookie, 0, true) : errorChunk(cookie, fails))
        return chunks
      })
      const wire: Buffer[] = []
      for (let turn = order; queues.some((queue) => queue.length > 0); turn = (turn * 31 + 7) % 1_000_003) {
        const left = queues.filter((queue) => queue.length > 0)
        wire.push(left[turn % left.length]!.shift()!)
      }
      feed(at.receiver, Buffer.concat(wire), cuts)
      assert.deepEqual(at.failures, [])
      assert.equal(at.signs(), wire.length)
      assert.equal(at.pending.size, 0)
      at.outcomes.forEach(({ data, error, settled }, index) => {
        const code = answers[index]!.fails
        assert.equal(settled, true)
        assert.equal(error, code === null ? null : { 5: "EIO", 22: "EINVAL", 28: "ENOSPC" }[code])
        if (code === null) assert.ok(expected[index]!.equals(data))
      })
    }),
    { numRuns: 200 },
  )
})

test("simple replies received in any pieces", () => {
  fc.assert(
    fc.property(fc.array(lengths, { minLength: 1, maxLength: 6 }), cutsOf, (sizes, cuts) => {
      const at = listening(sizes, false)
      const wire = sizes.map((size, index) => simple(index + 1, 0, Buffer.alloc(size, index + 1)))
      feed(at.receiver, Buffer.concat(wire.reverse()), cuts)
      assert.deepEqual(at.failures, [])
      at.outcomes.forEach(({ data, error }, index) => {
        assert.equal(error, null)
        assert.ok(data.every((byte) => byte === index + 1))
      })
    }),
    { numRuns: 100 },
  )
})

const READ = 1 << 20
for (const [what, bytes, structured] of [
  ["a magic that is none", Buffer.alloc(16, 7), true],
  ["a cookie nobody has", simple(9, 0), true],
  ["a chunk without structured replies", dataChunk(1, READ, Buffer.alloc(10)), false],
  ["a simple reply with data although chunks were agreed", simple(1, 0, Buffer.alloc(10)), true],
  ["data in front of the read", dataChunk(1, READ - 1, Buffer.alloc(2), true), true],
  ["data past the read", dataChunk(1, READ + 5, Buffer.alloc(6), true), true],
  ["data far past the read", dataChunk(1, 2 ** 52, Buffer.alloc(6), true), true],
  ["more data than asked for", Buffer.concat([1, 2].map(() => dataChunk(1, READ, Buffer.alloc(6)))), true],
  ["an end with bytes missing", dataChunk(1, READ, Buffer.alloc(9), true), true],
  ["a chunk without data", chunk(1, 1, true, big(READ, 8)), true],
  ["a hole past the read", holeChunk(1, READ, 11, true), true],
  ["a hole of another length", chunk(1, 2, true, big(READ, 8)), true],
  ["an empty chunk that is not the last", chunk(1, 0, false), true],
  ["an empty chunk that is not empty", chunk(1, 0, true, Buffer.alloc(1)), true],
  ["an error that is none", errorChunk(1, 0), true],
  ["an error too short to say which", chunk(1, 0x8001, true, big(5, 4)), true],
  ["an error longer than any", Buffer.concat([chunk(1, 0x8001, true).subarray(0, 16), big(1 << 20, 4)]), true],
  ["a chunk of a type nobody knows", chunk(1, 77, true), true],
] as const)
  test(`${what} ends the connection, and the read is not answered`, () => {
    const at = listening([10], structured)
    feed(at.receiver, bytes, [1 << 20])
    assert.equal(at.failures.length > 0, true)
    assert.equal((at.failures[0] as IoError).code, "EIO")
    assert.match(at.failures[0]!.message, /malformed/)
    assert.equal(at.outcomes[0]!.settled, false)
  })

test("an error of a type nobody knows is an error", () => {
  const at = listening([10])
  feed(at.receiver, chunk(1, 0x8055, true, Buffer.concat([big(28, 4), Buffer.alloc(9)])), [3])
  assert.equal(at.outcomes[0]!.error, "ENOSPC")
})

const optionReply = (option: number, type: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  Buffer.concat([big(0x3e889045565a9n, 8), big(option, 4), big(type, 4), big(data.length, 4), data])
const HELLO = Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), big(3, 2)])
const EXPORT = optionReply(7, 3, Buffer.concat([big(0, 2), big(4096, 8), big(1, 2)]))

for (const [answer, type, structured] of [
  ["agrees to", 1, true],
  ["does not know", 0x80000001, false],
] as const)
  test(`a server that ${answer} structured replies`, () => {
    const sent: Buffer[] = []
    let found: unknown = null
    const receiver = new Receiver(
      (function* (): Generator<Uint8Array, never, void> {
        found = yield* negotiate("x", (bytes) => sent.push(bytes))
        for (;;) yield Buffer.alloc(1)
      })(),
      (error) => assert.fail(error as Error),
    )
    feed(receiver, Buffer.concat([HELLO, optionReply(8, type), EXPORT, optionReply(7, 1)]), [5])
    assert.deepEqual(found, { size: 4096, flags: 1, minimumBlock: 1, maximumBlock: 32 << 20, structured })
    const go = Buffer.concat([big(1, 4), Buffer.from("x"), big(1, 2), big(3, 2)])
    const option = (number: number, data: Uint8Array) =>
      Buffer.concat([Buffer.from("IHAVEOPT"), big(number, 4), big(data.length, 4), data])
    assert.deepEqual(Buffer.concat(sent), Buffer.concat([big(3, 4), option(8, Buffer.alloc(0)), option(7, go)]))
  })

/** A client of a server that says hello, and what the test wants. */
async function withServer(said: readonly Buffer[], body: (path: string, peer: Promise<Socket>) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-"))
  const path = join(folder, "nbd.sock")
  const server = createServer().listen(path)
  await once(server, "listening")
  const peer = once(server, "connection").then(([socket]) => {
    socket.on("error", () => {})
    for (const bytes of said) socket.write(bytes)
    return socket as Socket
  })
  try {
    await body(path, peer)
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
}

const AGREED = [HELLO, optionReply(8, 1), EXPORT, optionReply(7, 1)]

test("connect: nobody listens, the peer is no NBD server, leaves, says nothing", async () => {
  await assert.rejects(NbdClient.connect("/does/not/exist"), { code: "ENOENT" })
  await withServer([Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")], (path) =>
    assert.rejects(NbdClient.connect(path), { code: "EIO", message: /not a fixed-newstyle NBD server/ }),
  )
  await withServer([optionReply(1, 1)], async (path, peer) => {
    const connecting = assert.rejects(NbdClient.connect(path), { code: "EIO" })
    ;(await peer).end()
    await connecting
  })
  await withServer([HELLO], async (path) => {
    await assert.rejects(NbdClient.connect(path, { timeoutMs: 50 }), { message: /does not answer/ })
  })
})

test("what is under way rejects when the server leaves, sends nonsense or falls silent; then nothing can be asked", async () => {
  const ways: [RegExp, (peer: Socket) => void, number?][] = [
    [/closed the connection/, (peer) => peer.end()],
    [/malformed/, (peer) => peer.resume().write(Buffer.alloc(100))],
    [/does not answer/, (peer) => peer.resume(), 100],
  ]
  for (const [reason, act, timeoutMs] of ways) {
    await withServer(AGREED, async (path, peer) => {
      const client = await NbdClient.connect(path, timeoutMs === undefined ? {} : { timeoutMs })
      assert.equal(client.size, 4096)
      const reads = Promise.allSettled([client.read(0, 512), client.write(512, new Uint8Array(512))])
      act(await peer)
      for (const read of await reads) {
        assert.equal(read.status, "rejected")
        assert.match(String((read as PromiseRejectedResult).reason), reason)
      }
      await client.ended
      assert.equal(client.gone, true)
      await assert.rejects(client.flush(), { code: "EIO" })
      await client[Symbol.asyncDispose]()
      ;(await peer).destroy()
    })
  }
})

test("a connection that is given up takes answers until the server ends it, when a write has none", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-"))
  const path = join(folder, "nbd.sock")
  const asked: Asked[] = []
  const server = new FakeServer(4096, { path, answer: (each) => asked.push(each) })
  await server.listen()
  try {
    const client = await NbdClient.connect(path, { timeoutMs: 100 })
    let ended = false
    void client.ended.then(() => (ended = true))
    const [one, two] = [client.write(0, new Uint8Array(512)), client.write(512, new Uint8Array(512))]
    two.catch(() => {})
    await client.left
    await assert.rejects(client.read(0, 512), { message: /does not answer/ })
    asked[0]!.reply()
    await one
    assert.equal(ended, false)
    asked[0]!.socket.end()
    await assert.rejects(two, { message: /does not answer/ })
    await client.ended
    // Goodbye was said.
    assert.deepEqual(
      asked.map(({ type }) => type),
      [1, 1, 2],
    )
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
})
