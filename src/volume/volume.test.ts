import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mock, test } from "node:test"
import fc from "fast-check"
import { runs } from "../testing/runs.ts"
import { HANDLE, TestEnclave, xts } from "../testing/test-enclave.ts"
import { WatchedStore } from "../testing/watched-store.ts"
import { Volume } from "./volume.ts"

const SIZE = (3 << 20) + 4096
const OFFSET = 1024

for (const sectorSize of [512, 4096] as const) {
  test(`any mix of ranges reads and leaves what OpenSSL says, sectors of ${sectorSize}`, async () => {
    const key = randomBytes(64)
    const range = fc
      .record({
        kind: fc.constantFrom("read", "write", "zero"),
        offset: fc.nat(SIZE - 1),
        length: fc.oneof(fc.nat(3), fc.nat(10_000), fc.constant(SIZE)),
        // Where the bytes lie in their buffer: the enclave takes aligned ones only.
        shift: fc.nat(8),
      })
      .map((each) => ({ ...each, length: Math.min(each.length, SIZE - each.offset) }))
    await fc.assert(
      fc.asyncProperty(fc.array(range, { maxLength: 6 }), async (ranges) => {
        const store = new WatchedStore(new Uint8Array(OFFSET + SIZE))
        const volume = new Volume({ store, offset: OFFSET, size: SIZE, sectorSize })
        volume.unlock(new TestEnclave(key, sectorSize).enclave, HANDLE)
        await volume.zero(0, SIZE)
        const model = Buffer.alloc(SIZE)
        for (const { kind, offset, length, shift } of ranges) {
          const bytes = Buffer.allocUnsafeSlow(length + shift).subarray(shift)
          if (kind === "read") {
            await volume.readInto(offset, bytes)
            assert.ok(bytes.equals(model.subarray(offset, offset + length)))
          } else if (kind === "write") {
            randomBytes(length).copy(bytes)
            await volume.write(offset, bytes)
            bytes.copy(model, offset)
          } else {
            await volume.zero(offset, length)
            model.fill(0, offset, offset + length)
          }
        }
        assert.ok(xts(key, true, sectorSize, 0, store.bytes.subarray(OFFSET)).equals(model))
        assert.ok(store.bytes.subarray(0, OFFSET).every((byte) => byte === 0))
        await volume.close()
      }),
      { numRuns: runs(12, 3) },
    )
  })
}

test("parts of one sector written side by side do not undo each other", async () => {
  const key = randomBytes(64)
  const store = new WatchedStore(new Uint8Array(8192))
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
  volume.unlock(new TestEnclave(key, 4096).enclave, HANDLE)
  await volume.zero(0, 8192)
  // Every read waits a turn, so that the writes would interleave if they could.
  store.before = () => new Promise((resolve) => setImmediate(resolve))
  const model = randomBytes(8192)
  await Promise.all(Array.from({ length: 64 }, (_, n) => volume.write(n * 128, model.subarray(n * 128, n * 128 + 128))))
  assert.deepEqual(xts(key, true, 4096, 0, store.bytes), model)
  await volume.close()
})

test("a long request is moved in slices", async () => {
  const store = new WatchedStore(new Uint8Array(8 << 20))
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
  volume.unlock(new TestEnclave(randomBytes(64), 4096).enclave, HANDLE)
  await volume.read(100, (6 << 20) - 100)
  assert.ok(store.begun.length >= 6)
  assert.ok(store.begun.every((step) => step.kind === "read" && step.length <= 1 << 20))
  await volume.close()
})

test("a volume that closes stays closing when its enclave is lost: nothing waits for a key, nobody gives one", async () => {
  const store = new WatchedStore(new Uint8Array(8192))
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
  const test = new TestEnclave(randomBytes(64), 4096)
  volume.unlock(test.enclave, HANDLE)
  // The close waits for this read, which finds no enclave when the disk has answered.
  let answer!: () => void
  const answered = new Promise<void>((resolve) => (answer = resolve))
  store.before = ({ kind }) => (kind === "read" ? answered : undefined)
  const reading = assert.rejects(volume.read(0, 4096), { code: "ESHUTDOWN" })
  const closed = volume.close()
  test.alive = false
  answer()
  await reading
  assert.notEqual(volume.state, "locked")
  assert.throws(() => volume.unlock(new TestEnclave(randomBytes(64), 4096).enclave, HANDLE), { code: "ESHUTDOWN" })
  await closed
  assert.equal(volume.state, "closed")
})

test("a store that neither flushes nor closes holds a close for 65 s, not for the time of each", async () => {
  class Hanging extends WatchedStore {
    override close(): Promise<void> {
      return new Promise(() => {})
    }
  }
  const store = new Hanging(new Uint8Array(8192))
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
  volume.unlock(new TestEnclave(randomBytes(64), 4096).enclave, HANDLE)
  store.before = () => new Promise(() => {})
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  try {
    let over = false
    const closed = assert.rejects(volume.close(), { code: "EIO", message: /did not flush within 60 s/ })
    void closed.then(() => (over = true))
    await turn()
    mock.timers.tick(60_000)
    await turn()
    assert.equal(volume.state, "closed")
    mock.timers.tick(4999)
    await turn()
    assert.equal(over, false)
    mock.timers.tick(1)
    await closed
  } finally {
    mock.timers.reset()
  }
})
