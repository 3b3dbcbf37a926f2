/** What convertZones has under way at one time; that a cut loses nothing is in interrupted.test.ts. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { IoError } from "../base/io-error.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { convertZones, type Running, type Zones } from "./zones.ts"

const ZONE = 8192
const TOTAL = 10 * ZONE

const slow = () => new Promise((resolve) => setImmediate(resolve))

/** Zones of a store that takes its time: an encryption that inverts each bit, and a log of what began. */
class Observed extends MemoryStore {
  readonly log: string[] = []
  hot = -1
  /** Zones that were read and are not on stable storage. */
  readonly #held = new Set<number>()
  most = 0
  failsAt = -1
  /** Turns of the event loop that the first header waits for the second zone. */
  patience = 0
  reading = 0
  readonly #written = new Set<number>()

  override async read(offset: number, into: Uint8Array): Promise<void> {
    // A probe holds nothing.
    if (into.length < ZONE) return super.read(offset, into)
    const zone = offset / ZONE
    this.#held.add(zone)
    this.most = Math.max(this.most, this.#held.size)
    this.log.push(`read ${zone}`)
    this.reading++
    await slow()
    this.reading--
    if (zone === this.failsAt) throw new IoError("EIO", "a read failed")
    await super.read(offset, into)
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    const zone = Math.floor(offset / ZONE)
    assert.equal(zone, this.hot, "a write before its zone is hot")
    await slow()
    await super.write(offset, from)
    this.#written.add(zone)
  }

  override async flush(): Promise<void> {
    await slow()
    for (const zone of this.#written) this.#held.delete(zone)
    this.#written.clear()
  }

  zones(): Zones {
    return {
      data: this,
      total: TOTAL,
      before: (at) => at,
      after: (at) => at,
      moved: 0,
      movedLast: false,
      shift: 0,
      backward: false,
      sector: 512,
      resilience: "checksum",
      block: 512,
      areaSize: ZONE,
      most: ZONE,
      header: {
        readArea: async () => new Uint8Array(0),
        write: async ({ position, hot }) => {
          // What is read meanwhile is read in its own time.
          for (let turn = 0; turn < this.patience && !this.log.includes("read 1"); turn++) await slow()
          this.hot = hot === 0 ? -1 : position / ZONE
          this.log.push(`header ${hot === 0 ? "between" : this.hot}`)
        },
      },
      converter: {
        zone: () => new Uint8Array(32),
        convert: async (parts) => {
          for (const { bytes } of parts) for (let n = 0; n < bytes.length; n++) bytes[n] = bytes[n]! ^ 0xff
        },
      },
    }
  }
}

const never: Running = { stop: () => false, progress: async () => {} }

test("the next zone is read before the header of the first is written, and two are in memory at most", async () => {
  const plain = new Uint8Array(randomBytes(TOTAL))
  const store = new Observed(plain.slice())
  store.patience = 100_000
  assert.equal(await convertZones(store.zones(), 0, never), true)
  assert.deepEqual(
    store.bytes,
    plain.map((byte) => byte ^ 0xff),
  )
  assert.deepEqual(store.log.slice(0, 3), ["read 0", "read 1", "header 0"])
  assert.equal(store.most, 2)
})

test("a zone that cannot be read ends it when those before are converted, and nothing is read afterwards", async () => {
  const store = new Observed(new Uint8Array(TOTAL))
  store.failsAt = 2
  await assert.rejects(convertZones(store.zones(), 0, never), { message: "a read failed" })
  assert.deepEqual(
    [0, 1, 2].map((zone) => store.bytes[zone * ZONE]),
    [0xff, 0xff, 0],
  )
  const { length } = store.log
  await slow()
  assert.equal(store.log.length, length)
  assert.ok(!store.log.includes("read 3"))
})

test("when it is to stop, nothing is read any more after it returned", async () => {
  const store = new Observed(new Uint8Array(TOTAL))
  let done = 0
  const running: Running = { stop: () => done === 2, progress: async () => void done++ }
  assert.equal(await convertZones(store.zones(), 0, running), false)
  assert.equal(store.reading, 0)
  const { length } = store.log
  for (let turn = 0; turn < 5; turn++) await slow()
  assert.equal(store.log.length, length)
})
