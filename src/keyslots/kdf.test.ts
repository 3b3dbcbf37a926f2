import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import type { Kdf } from "../luks2/types.ts"
import { type KdfLimits, type KdfRequest, portableKdf, tresorKdf } from "./kdf.ts"

const limits: KdfLimits = { memoryKib: 1 << 20, cpus: 8 }
const plain: KdfRequest = { type: "argon2id", memoryKib: null, lanes: null, iterations: null, timeMs: null }

/** A machine of a given speed: ms per KiB and pass, ms per iteration. Counts what it is asked. */
function machine(perKib: number, perIteration = perKib) {
  const asked: Kdf[] = []
  const time = (kdf: Kdf) => (kdf.type === "pbkdf2" ? kdf.iterations * perIteration : kdf.memoryKib * kdf.time * perKib)
  const benchmark = async (kdf: Kdf) => {
    asked.push(kdf)
    return time(kdf)
  }
  return { asked, time, benchmark }
}

test("a sealed keyslot's KDF is not measured unless a time is given", async () => {
  const { asked, benchmark } = machine(1)
  assert.deepEqual(await tresorKdf(plain, limits, benchmark), { type: "argon2id", time: 3, memoryKib: 65536, lanes: 4 })
  const pbkdf2 = await tresorKdf({ ...plain, type: "pbkdf2", iterations: 1000 }, limits, benchmark)
  assert.deepEqual(pbkdf2, { type: "pbkdf2", hash: "sha256", iterations: 1000 })
  assert.equal(asked.length, 0)
  await tresorKdf({ ...plain, timeMs: 100 }, limits, benchmark)
  assert.notEqual(asked.length, 0)
})

test("what is asked for is taken", async () => {
  const { benchmark } = machine(1)
  const request = { ...plain, type: "argon2i", memoryKib: 1024, lanes: 2, iterations: 5 } as const
  const kdf = { type: "argon2i", time: 5, memoryKib: 1024, lanes: 2 }
  assert.deepEqual(await tresorKdf(request, limits, benchmark), kdf)
  assert.deepEqual(await portableKdf(request, limits, benchmark), kdf)
})

test("more memory than the machine can give is cut down, as cryptsetup does", async () => {
  const { benchmark } = machine(1 / 1000)
  const small = { memoryKib: 4096, cpus: 1 }
  for (const choose of [tresorKdf, portableKdf]) {
    for (const iterations of [null, 4]) {
      const kdf = await choose({ ...plain, memoryKib: 1 << 22, iterations }, small, benchmark)
      assert.ok(kdf.type === "argon2id" && kdf.memoryKib === 4096)
    }
  }
})

test("a portable keyslot keeps to cryptsetup's minima", async () => {
  const { benchmark } = machine(1)
  for (const request of [
    { ...plain, iterations: 3 },
    { ...plain, type: "pbkdf2", iterations: 999 },
  ] as const) {
    await assert.rejects(portableKdf(request, limits, benchmark), { code: "KDF_TOO_WEAK", exitCode: 1 })
  }
})

test("a fast machine gets all the memory, then passes; a slow one less memory", async () => {
  const fast = machine(1 / 10_000)
  const most = await portableKdf(plain, limits, fast.benchmark)
  assert.ok(most.type === "argon2id" && most.memoryKib === 1 << 20 && most.time > 4 && most.lanes === 4)
  const slow = machine(1 / 100)
  const less = await portableKdf(plain, limits, slow.benchmark)
  assert.ok(less.type === "argon2id" && less.memoryKib < 1 << 20 && less.time === 4)
})

test("whatever the machine, the KDF takes the time asked for within a tenth, or is the least allowed", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.double({ min: 1e-7, max: 1e-2, noNaN: true }),
      fc.constantFrom("argon2id", "argon2i", "pbkdf2"),
      fc.integer({ min: 1, max: 60_000 }),
      fc.integer({ min: 32, max: 1 << 22 }),
      async (speed, type, timeMs, memoryKib) => {
        const { time, benchmark, asked } = machine(speed)
        const kdf = await portableKdf({ ...plain, type, timeMs, memoryKib }, limits, benchmark)
        const least = kdf.type === "pbkdf2" ? kdf.iterations === 1000 : kdf.time === 4 && kdf.memoryKib <= 32
        const took = time(kdf)
        assert.ok(took < timeMs * 1.1 || least, `${took} ms of ${timeMs}`)
        const capped = kdf.type === "pbkdf2" ? kdf.iterations === 0x7fff_ffff : kdf.time === 0x7fff_ffff
        assert.ok(took > timeMs * 0.5 || capped, `${took} ms of ${timeMs}`)
        if (kdf.type !== "pbkdf2")
          assert.ok(kdf.memoryKib <= Math.min(memoryKib, 1 << 20) && kdf.memoryKib >= 8 * kdf.lanes)
        assert.ok(asked.length < 20)
      },
    ),
  )
})
