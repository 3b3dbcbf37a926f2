/**
 * A server that lies about reads. Whatever it answers to the read in front of a
 * write of part of a sector, it is given nothing but the encryption of what it
 * sent itself and the writer's bytes: never what the client's memory held before.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { NbdStore } from "../store/nbd-store.ts"
import { type Asked, big, FakeServer } from "../testing/fake-nbd-server.ts"
import { HANDLE, TestEnclave, xts } from "../testing/test-enclave.ts"
import { Volume } from "../volume/volume.ts"
import { Coverage, MOST_PIECES } from "./coverage.ts"

const SECTOR = 4096
const SIZE = 1 << 20
const KEY = randomBytes(64)
const folder = mkdtempSync(join(tmpdir(), "tresor-liar-"))
after(() => rmSync(folder, { recursive: true }))

/** One chunk of a reply; positions and lengths are within the read. */
interface Piece {
  readonly kind: "data" | "hole" | "error" | "error at"
  readonly at: number
  readonly length: number
}

interface Lie {
  readonly structured: boolean
  readonly pieces: readonly Piece[]
  /** The last chunk says that it is; else one without content does. */
  readonly done: boolean
  /** Bytes of the answer that are held back; then the connection ends. */
  readonly short: number
}

/** What the server answers to a read of one sector, and the sector that makes; `null`: it makes none. */
function tell(lie: Lie, cookie: bigint, offset: bigint, content: Buffer) {
  const head = (type: number, done: boolean, payload: Uint8Array) =>
    Buffer.concat([
      big(0x668e33ef, 4),
      big(done ? 1 : 0, 2),
      big(type, 2),
      big(cookie, 8),
      big(payload.length, 4),
      payload,
    ])
  const made = Buffer.alloc(SECTOR)
  const times = new Uint8Array(SECTOR)
  let sound = true
  const answer = lie.pieces.map(({ kind, at, length }, index) => {
    const done = lie.done && index === lie.pieces.length - 1
    const where = big(BigInt.asUintN(64, offset + BigInt(at)), 8)
    if (kind === "error" || kind === "error at") sound = false
    else if (length === 0 || at < 0 || at + length > SECTOR) sound = false
    else {
      for (let byte = at; byte < at + length; byte++) if (++times[byte]! > 1) sound = false
      if (kind === "data") made.set(content.subarray(at, at + length), at)
      else made.fill(0, at, at + length)
    }
    if (kind === "error") return head(0x8001, done, Buffer.concat([big(5, 4), big(2, 2), Buffer.from("no")]))
    if (kind === "error at") return head(0x8002, done, Buffer.concat([big(5, 4), big(0, 2), where]))
    if (kind === "hole") return head(2, done, Buffer.concat([where, big(length, 4)]))
    const data = Buffer.alloc(length, 0xa5)
    if (at >= 0 && at < SECTOR) content.copy(data, 0, at, at + length)
    return head(1, done, Buffer.concat([where, data]))
  })
  if (!lie.done || lie.pieces.length === 0) answer.push(head(0, true, Buffer.alloc(0)))
  const whole = times.every((n) => n === 1)
  const simple = Buffer.concat([big(0x67446698, 4), big(0, 4), big(cookie, 8), content])
  const bytes = lie.structured ? Buffer.concat(answer) : simple
  return {
    bytes: bytes.subarray(0, Math.max(0, bytes.length - lie.short)),
    sector: lie.short > 0 || (lie.structured && !(sound && whole)) ? null : lie.structured ? made : content,
  }
}

/** Serves `disk`; lies as `lie` says, and tells what it was given. */
class Liar extends FakeServer {
  readonly disk: Buffer
  readonly given: { readonly offset: number; readonly bytes: Buffer }[]
  /** `null`: the truth. */
  lie: Lie | null = null
  /** What the lie made of the sector at an offset; `null`: nothing. */
  readonly told = new Map<number, Buffer | null>()

  constructor(path: string, structured: boolean) {
    const disk = randomBytes(SIZE)
    const given: { readonly offset: number; readonly bytes: Buffer }[] = []
    // Without FLUSH: what is written is done with.
    const answer = ({ type, cookie, offset: at, length, payload, socket, reply }: Asked) => {
      if (type === 2) return void socket.end()
      if (type === 1) {
        given.push({ offset: at, bytes: payload })
        return reply()
      }
      const content = disk.subarray(at, at + length)
      if (this.lie === null || length !== SECTOR) {
        if (!structured) return reply(0, content)
        const head = Buffer.concat([big(0x668e33ef, 4), big(1, 2), big(1, 2), big(cookie, 8), big(8 + length, 4)])
        return void socket.write(Buffer.concat([head, big(at, 8), content]))
      }
      const { bytes, sector } = tell({ ...this.lie, structured }, cookie, BigInt(at), content)
      this.told.set(at, sector)
      socket.write(bytes)
      if (this.lie.short === 0) return
      this.lie = null
      socket.end()
    }
    super(SIZE, { path, structured, answer })
    this.disk = disk
    this.given = given
  }
}

const cut = fc.constantFrom(0, 1, 512, 2048, 4095, 4096)
const piece: fc.Arbitrary<Piece> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("data", "hole"), at: cut, length: cut }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("data", "hole"), at: fc.constant(2048), length: fc.constant(2048) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("data", "hole"), at: fc.constant(0), length: fc.constant(2048) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("error", "error at"), at: cut, length: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("data", "hole"),
      at: fc.integer({ min: -5000, max: 5000 }),
      length: fc.nat(5000),
    }),
  },
) as fc.Arbitrary<Piece>
const lies: fc.Arbitrary<Omit<Lie, "structured">> = fc.record({
  pieces: fc.oneof(
    fc.array(piece, { maxLength: 5 }),
    // The lie that was believed: one half twice, and never the other.
    fc.constantFrom<Piece[]>(
      [0, 0].map((at) => ({ kind: "data", at, length: 2048 })),
      [2048, 2048].map((at) => ({ kind: "hole", at, length: 2048 })),
      [0, 1024].map((at) => ({ kind: "data", at, length: 2048 })),
      [0, 2048].map((at) => ({ kind: "data", at, length: 2048 })),
    ),
  ),
  done: fc.boolean(),
  short: fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 5000 }) },
  ),
})

for (const structured of [true, false]) {
  test(`a server that lies about reads is given only what it sent and what was written, ${structured ? "chunks" : "simple replies"}`, async () => {
    let [believed, refused] = [0, 0]
    await fc.assert(
      fc.asyncProperty(lies, fc.nat(SIZE / SECTOR - 1), fc.nat(SECTOR - 600), async (lie, sector, from) => {
        const path = join(folder, `${structured}-${believed + refused}.sock`)
        const liar = new Liar(path, structured)
        await liar.listen()
        const store = await NbdStore.open({ at: { path }, exportName: "" }, { lossGraceMs: 2000 })
        const volume = new Volume({ store, offset: 0, size: null, sectorSize: SECTOR })
        volume.unlock(new TestEnclave(KEY, SECTOR).enclave, HANDLE)
        try {
          // Leaves plaintext of other sectors in freed memory, where the next buffers come from.
          for (let n = 0; n < 4; n++) await volume.read(n * SECTOR, 2 * SECTOR)
          liar.lie = { structured, ...lie }
          const patch = randomBytes(600)
          const offset = sector * SECTOR
          const error = await volume.write(offset + from, patch).then(
            () => null,
            (error: Error) => error,
          )
          liar.lie = null
          // A short answer that is no lie until it ends is asked for again, and then is the truth.
          const told =
            liar.told.get(offset) ??
            (lie.short > 0 && error === null ? liar.disk.subarray(offset, offset + SECTOR) : null)
          if (told === null) {
            assert.notEqual(error, null)
            assert.deepEqual(liar.given, [])
            refused++
            return
          }
          assert.equal(error, null)
          const plain = xts(KEY, true, SECTOR, offset / 512, told)
          plain.set(patch, from)
          assert.equal(liar.given.length, 1)
          assert.equal(liar.given[0]!.offset, offset)
          assert.ok(liar.given[0]!.bytes.equals(xts(KEY, false, SECTOR, offset / 512, plain)))
          believed++
        } finally {
          await volume.close().catch(() => {})
          liar.close()
        }
      }),
      { numRuns: 150 },
    )
    assert.ok(believed >= 10, `only ${believed} answers were true`)
    if (structured) assert.ok(refused >= 30, `only ${refused} answers were lies`)
  })
}

test("coverage is what a table of bytes says, and pieces are limited", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(40), fc.nat(12)), { maxLength: 30 }), (ranges) => {
      const coverage = new Coverage()
      const seen = new Uint8Array(60)
      for (const [start, length] of ranges) {
        const fresh = length > 0 && seen.subarray(start, start + length).every((byte) => byte === 0)
        assert.equal(coverage.add(start, start + length), fresh)
        if (fresh) seen.fill(1, start, start + length)
      }
      for (const length of [0, 1, 20, 41, 52]) {
        assert.equal(
          coverage.covers(length),
          seen.every((byte, at) => (byte === 1) === at < length),
          `${length}`,
        )
      }
    }),
  )
  const scattered = new Coverage()
  for (let n = 0; n < MOST_PIECES; n++) assert.equal(scattered.add(2 * n, 2 * n + 1), true)
  assert.equal(scattered.add(2 * MOST_PIECES, 2 * MOST_PIECES + 1), false)
  assert.equal(scattered.add(1, 2), true)
})

test("no source takes memory that is not initialised", () => {
  const root = dirname(dirname(fileURLToPath(import.meta.url)))
  const found = (readdirSync(root, { recursive: true }) as string[])
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .filter((path) => /\b(allocUnsafe(Slow)?|SlowBuffer)\b/.test(readFileSync(join(root, path), "utf8")))
  assert.deepEqual(found, [])
})
