/** What an update reads again, and what it leaves as it knows it. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { imageOf, vectors } from "../../test/luks2/vector-image.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { overwrite } from "./bytes.ts"
import { readCopies } from "./copies.ts"
import { HeaderStore } from "./header-store.ts"

const SIZE = 16384

class Counting extends MemoryStore {
  /** Bytes of each read. */
  readonly reads: number[] = []
  readonly writes: number[] = []

  override read(offset: number, into: Uint8Array): Promise<void> {
    this.reads.push(into.length)
    return super.read(offset, into)
  }

  override write(offset: number, from: Uint8Array): Promise<void> {
    this.writes.push(from.length)
    return super.write(offset, from)
  }
}

function disk(): Counting {
  const store = new Counting(new Uint8Array(17 << 20))
  const vector = vectors.find(({ tresor, headerSize, broken, missing, only }) => {
    return tresor === "accepted" && [headerSize, broken, missing, only].every((each) => each === undefined)
  })
  store.bytes.set(imageOf(vector!))
  return store
}

const label = (text: string) => async (header: LuksHeader) => ({ header: { ...header, label: text } })

test("an update after another reads each copy once, and says the same as a store that reads all", async () => {
  const device = disk()
  const store = await HeaderStore.open(device)
  await store.update(label("first"))
  device.reads.length = 0
  const written = await store.update(async (header) => ({ header: { ...header, label: `${header.label}, second` } }))
  assert.deepEqual(device.reads, [SIZE, SIZE])
  const { header, stale } = await readCopies(device)
  assert.deepEqual(stale, [])
  assert.equal(header.label, "first, second")
  assert.deepEqual(written, header)
})

test("an update goes on from what another store wrote meanwhile", async () => {
  const device = disk()
  const [store, other] = [await HeaderStore.open(device), await HeaderStore.open(device)]
  await store.update(label("ours"))
  const { sequenceId } = await other.update(async (header) => ({ header: { ...header, subsystem: "theirs" } }))
  const written = await store.update(label("ours again"))
  assert.deepEqual([written.subsystem, written.sequenceId], ["theirs", sequenceId + 1n])
})

test("an update rewrites a copy that was damaged since the one before", async () => {
  for (const at of [SIZE + 5000, 5000]) {
    const device = disk()
    const store = await HeaderStore.open(device)
    await store.update(label("before"))
    device.bytes[at]! ^= 1
    assert.equal((await readCopies(device)).stale.length, 1)
    await assert.rejects(store.update(label("after"), { unproved: true }), { code: "LUKS2_COPY_BROKEN" })
    await store.update(label("after"))
    const { header, stale } = await readCopies(device)
    assert.deepEqual([header.label, stale], ["after", []])
  }
})

test("overwriting leaves nothing of an area, and what is beside it as it was", async () => {
  const device = new Counting(new Uint8Array(4 << 20).fill(7))
  const [offset, size] = [4096, (2 << 20) + 70_000]
  await overwrite(device, { offset: BigInt(offset), size: BigInt(size) })
  assert.deepEqual(device.writes, [1 << 20, 1 << 20, 70_000])
  const at = (block: number) => device.bytes.subarray(block, block + 16)
  const seven = new Uint8Array(16).fill(7)
  for (let block = offset; block <= offset + size - 16; block += 4096) assert.notDeepEqual(at(block), seven)
  assert.notDeepEqual(at(offset + size - 16), seven)
  assert.ok(device.bytes.subarray(0, offset).every((byte) => byte === 7))
  assert.ok(device.bytes.subarray(offset + size).every((byte) => byte === 7))
})

test("overwriting ends with the error of a write, whichever it is", async () => {
  for (const fails of [1, 2, 3]) {
    const device = new Counting(new Uint8Array(3 << 20))
    device.write = async () => {
      if (device.writes.push(0) === fails) throw new Error("no room")
    }
    await assert.rejects(overwrite(device, { offset: 0n, size: 3n << 20n }), { message: "no room" })
    assert.equal(device.writes.length, fails)
  }
})
