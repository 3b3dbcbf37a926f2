/** Whole sectors moved past the thread pool: the same bytes come out as on the slow path, whatever fails in between. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setImmediate, setTimeout as sleep } from "node:timers/promises"
import fc from "fast-check"
import { FileStore } from "../store/file-store.ts"
import { KEY, RawPeer } from "../testing/nbd-export.ts"
import { runs } from "../testing/runs.ts"
import { HANDLE, TestEnclave, xts } from "../testing/test-enclave.ts"
import { Volume } from "../volume/volume.ts"
import { serveNbd } from "./server.ts"

const KIB = 1 << 10
const MIB = 1 << 20
const SIZE = 4 * MIB
const SEGMENT = 64 * KIB

interface Scratch {
  readonly path: string
  readonly file: string
  readonly volume: Volume
  readonly enclave: TestEnclave
}

async function onFile(sectorSize: 512 | 4096, body: (at: Scratch) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-"))
  const [file, path] = [join(folder, "store"), join(folder, "nbd.sock")]
  writeFileSync(file, Buffer.alloc(SEGMENT + SIZE))
  const volume = new Volume({ store: await FileStore.open(file), offset: SEGMENT, size: SIZE, sectorSize })
  const enclave = new TestEnclave(KEY, sectorSize)
  volume.unlock(enclave.enclave, HANDLE)
  const server = await serveNbd({ path, volume })
  try {
    await body({ path, file, volume, enclave })
  } finally {
    await server.close()
    await volume.close()
    rmSync(folder, { recursive: true })
  }
}

interface Answer {
  readonly error: number
  readonly data: Buffer
  /** Chunks with data. */
  readonly chunks: number
}

/** Requests in flight together, each with a cookie of its own; answers by cookie, checked chunk by chunk. */
class Client {
  readonly #peer: RawPeer
  readonly #structured: boolean

  constructor(peer: RawPeer, structured: boolean) {
    this.#peer = peer
    this.#structured = structured
  }

  static async connect(path: string, structured: boolean): Promise<Client> {
    return new Client(await RawPeer.going(path, { structured }), structured)
  }

  /** `bits`: lengths of what is said first, with a pause behind each. */
  async ask(
    requests: readonly { type: number; offset: number; length: number; data?: Buffer }[],
    bits: readonly number[] = [],
  ): Promise<Answer[]> {
    const parts = requests.map(({ type, offset, length, data }, n) =>
      Buffer.concat([RawPeer.request(type, BigInt(offset), length, { cookie: BigInt(n) }), data ?? Buffer.alloc(0)]),
    )
    let unsaid = Buffer.concat(parts)
    for (const bit of bits) {
      this.#peer.say(unsaid.subarray(0, bit))
      unsaid = unsaid.subarray(bit)
      await setImmediate()
    }
    this.#peer.say(unsaid)
    const answers: (Answer | undefined)[] = requests.map(() => undefined)
    const partial = requests.map(({ type, length }) => ({
      data: Buffer.alloc(type === 0 ? length : 0),
      got: 0,
      chunks: 0,
    }))
    while (answers.includes(undefined)) {
      const start = await this.#peer.take(16)
      const simple = start.readUInt32BE(0) === 0x67446698
      const cookie = Number(start.readBigUInt64BE(8))
      const { type, offset, length } = requests[cookie]!
      const mine = partial[cookie]!
      assert.equal(answers[cookie], undefined, "answered twice")
      if (simple) {
        assert.ok(!this.#structured || type !== 0, "a read is answered by chunks")
        const error = start.readUInt32BE(4)
        const data = type === 0 && error === 0 ? Buffer.from(await this.#peer.take(length)) : mine.data
        answers[cookie] = { error, data, chunks: 1 }
        continue
      }
      assert.equal(start.readUInt32BE(0), 0x668e33ef)
      const [flags, kind] = [start.readUInt16BE(4), start.readUInt16BE(6)]
      const payload = await this.#peer.take((await this.#peer.take(4)).readUInt32BE(0))
      if (kind === 0x8001) {
        answers[cookie] = { error: payload.readUInt32BE(0), data: mine.data, chunks: mine.chunks }
        assert.equal(flags, 1)
        continue
      }
      assert.equal(kind, 1)
      mine.data.set(payload.subarray(8), Number(payload.readBigUInt64BE(0)) - offset)
      mine.got += payload.length - 8
      mine.chunks++
      if (flags === 1) {
        assert.equal(mine.got, length, "a chunk is missing")
        answers[cookie] = { error: 0, data: mine.data, chunks: mine.chunks }
      }
    }
    return answers as Answer[]
  }

  close(): void {
    this.#peer.destroy()
  }
}

const RUNS = runs(60, 20)

const request = fc.record({
  write: fc.boolean(),
  unit: fc.constantFrom(4096, 4096, 4096, 512, 1),
  offset: fc.nat(SIZE),
  length: fc.oneof(fc.nat(20 * KIB), fc.nat(300 * KIB), fc.nat(2 * MIB)),
})

for (const structured of [true, false]) {
  for (const sectorSize of [4096, 512] as const) {
    const how = `${structured ? "structured" : "simple"} replies, sectors of ${sectorSize}`
    test(`what was written is read back and lies on disk as OpenSSL encrypts it: ${how}`, () =>
      onFile(sectorSize, async ({ path, file, enclave }) => {
        const model = xts(KEY, true, sectorSize, 0, readFileSync(file).subarray(SEGMENT))
        const client = await Client.connect(path, structured)
        await fc.assert(
          fc.asyncProperty(
            fc.array(request, { minLength: 1, maxLength: 24 }),
            fc.constantFrom(0, 0, 0.2, 1),
            fc.array(fc.oneof(fc.nat(100), fc.nat(300 * KIB)), { maxLength: 12 }),
            async (wanted, failing, bits) => {
              enclave.refuse = () => (Math.random() >= failing ? 0 : Math.random() < 0.1 ? "all" : 11)
              // Writes of one round do not overlap: what would lie there is not defined.
              const taken: [number, number][] = []
              const requests: { type: number; offset: number; length: number; data?: Buffer }[] = []
              for (const { write, unit, ...where } of wanted) {
                const offset = where.offset - (where.offset % unit)
                const length = Math.min(SIZE - offset, Math.max(unit, where.length - (where.length % unit)))
                if (length <= 0 || taken.some(([start, end]) => offset < end && start < offset + length)) continue
                taken.push([offset, offset + length])
                if (!write) requests.push({ type: 0, offset, length })
                else requests.push({ type: 1, offset, length, data: randomBytes(length) })
              }
              const answers = await client.ask(requests, bits)
              answers.forEach(({ error, data }, n) => {
                const { type, offset, length, data: written } = requests[n]!
                assert.equal(error, 0)
                if (type === 1) model.set(written!, offset)
                else assert.ok(data.equals(model.subarray(offset, offset + length)), `${offset}+${length} differs`)
              })
            },
          ),
          { numRuns: RUNS },
        )
        client.close()
        assert.ok(enclave.moved > RUNS / 3, "little was moved at once")
        const disk = readFileSync(file).subarray(SEGMENT)
        assert.ok(xts(KEY, true, sectorSize, 0, disk).equals(model))
      }))
  }
}

test("a long read comes in pieces, and an error after the first ones is told", () =>
  onFile(4096, async ({ path, file }) => {
    const client = await Client.connect(path, true)
    const [whole] = await client.ask([{ type: 0, offset: 0, length: MIB }])
    assert.equal(whole!.chunks, 8)
    // The disk loses its end while it is served.
    truncateSync(file, SEGMENT + 2 * MIB + 256 * KIB)
    const [cut, before] = await client.ask([
      { type: 0, offset: 2 * MIB, length: MIB },
      { type: 0, offset: 2 * MIB, length: 256 * KIB },
    ])
    assert.deepEqual([cut!.error, cut!.chunks], [5, 2])
    assert.deepEqual([before!.error, before!.chunks], [0, 2])
    client.close()
  }))

test("a large payload is written as it comes, and its sender may die in the middle", () =>
  onFile(4096, async ({ path, file, enclave }) => {
    const payload = randomBytes(2 * MIB)
    const peer = await RawPeer.going(path)
    // Refused for the second piece: what is left of the request is kept until it is complete.
    for (const [refuseFrom, written, leave] of [
      [Number.POSITIVE_INFINITY, 3, "destroy"],
      [1, 1, "destroy"],
      [1, 1, "end"],
    ] as const) {
      const before = readFileSync(file).subarray(SEGMENT)
      const dying = await RawPeer.going(path)
      const already = enclave.moved
      enclave.refuse = () => (enclave.moved - already >= refuseFrom ? 11 : 0)
      dying.say(RawPeer.request(1, BigInt(MIB), payload.length))
      dying.say(payload.subarray(0, 3 * 128 * KIB + 5))
      const until = performance.now() + 5000
      while (enclave.moved - already < written && performance.now() < until) await sleep(1)
      dying.socket[leave]()
      await sleep(20)
      const disk = readFileSync(file).subarray(SEGMENT)
      const end = MIB + written * 128 * KIB
      assert.ok(xts(KEY, true, 4096, MIB / 512, disk.subarray(MIB, end)).equals(payload.subarray(0, end - MIB)))
      assert.ok(disk.subarray(end).equals(before.subarray(end)), "more was written than had come")
      payload.reverse()
    }
    peer.say(RawPeer.request(3, 0n, 0))
    assert.equal(await peer.simple(), 0)
    peer.destroy()
  }))

test("while part of a sector is changed, the sector is not written over", () =>
  onFile(4096, async ({ path }) => {
    const client = await Client.connect(path, true)
    for (let round = 0; round < 50; round++) {
      const [below, part] = [randomBytes(4096), randomBytes(10)]
      const answers = await client.ask([
        { type: 1, offset: 100, length: 10, data: part },
        { type: 1, offset: 0, length: 4096, data: below },
      ])
      assert.ok(answers.every(({ error }) => error === 0))
      const [read] = await client.ask([{ type: 0, offset: 0, length: 4096 }])
      const [after, last] = [read!.data, Buffer.from(below)]
      last.set(part, 100)
      assert.ok(after.equals(below) || after.equals(last), "neither order of the two")
    }
    client.close()
  }))

test("locking stops it at once: what was asked waits for the key", () =>
  onFile(4096, async ({ path, volume, enclave }) => {
    const client = await Client.connect(path, true)
    await client.ask([{ type: 1, offset: 0, length: 4096, data: Buffer.alloc(4096, 7) }])
    volume.lock()
    const moved = enclave.moved
    let answered = false
    const reading = client.ask([{ type: 0, offset: 0, length: 4096 }]).finally(() => {
      answered = true
    })
    await sleep(50)
    assert.deepEqual([answered, enclave.moved], [false, moved])
    volume.unlock(enclave.enclave, HANDLE)
    assert.ok((await reading)[0]!.data.equals(Buffer.alloc(4096, 7)))
    client.close()
  }))
