import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { areaSize, findGap, freeSlot, keyslotsArea } from "./areas.ts"
import type { LuksHeader, Metadata } from "./metadata.ts"

const KIB = 1024n
const PAGE = 4096n

/** A header whose keyslots area holds areas at these offsets; other programs' among them. */
function header(
  areas: readonly { readonly offset: bigint; readonly size: bigint }[],
  keyslotsSize = 1024n * KIB,
): LuksHeader {
  const keyslots: Metadata["keyslots"] = new Map(
    areas.map(({ offset, size }, slot) => [
      slot,
      {
        type: "reencrypt",
        foreign: true,
        area: { type: "none", offset, size, encryption: null, keySize: null },
      } as const,
    ]),
  )
  const config = { jsonSize: 12288n, keyslotsSize, flags: [], requirements: [] }
  const metadata = { keyslots, segments: new Map(), digests: new Map(), tokens: new Map(), config }
  return { uuid: "", label: "", subsystem: "", sequenceId: 1n, headerSize: 16 << 10, metadata }
}

test("an area is as long as cryptsetup makes it", () => {
  // cryptsetup luksDump, "Area length", of 512- and 256-bit volume keys.
  assert.equal(areaSize(64), 258048n)
  assert.equal(areaSize(32), 131072n)
})

test("the first gap that is long enough is taken", () => {
  const start = 32n * KIB
  assert.equal(findGap(header([]), 64n * KIB), start)
  assert.equal(findGap(header([{ offset: start, size: 64n * KIB }]), 64n * KIB), start + 64n * KIB)
  const holed = header([
    { offset: start + 96n * KIB, size: 64n * KIB },
    { offset: start, size: 64n * KIB },
  ])
  assert.equal(findGap(holed, 32n * KIB), start + 64n * KIB)
  assert.equal(findGap(holed, 64n * KIB), start + 160n * KIB)
  assert.equal(findGap(header([], 64n * KIB), 64n * KIB), start)
  assert.throws(() => findGap(header([{ offset: start, size: PAGE }], 64n * KIB), 64n * KIB), {
    code: "LUKS2_AREA_FULL",
    exitCode: 4,
  })
})

test("whatever lies there, a gap is aligned, inside, and nobody's", () => {
  const area = fc.record({ offset: fc.bigInt(32n * KIB, 1000n * KIB), size: fc.bigInt(1n, 100n * KIB) })
  fc.assert(
    fc.property(fc.array(area, { maxLength: 12 }), fc.bigInt(1n, 64n), (areas, pages) => {
      const found = header(areas)
      const size = pages * PAGE
      let gap: bigint
      try {
        gap = findGap(found, size)
      } catch {
        return
      }
      const { offset, end } = keyslotsArea(found)
      assert.equal(gap % PAGE, 0n)
      assert.ok(gap >= offset && gap + size <= end)
      for (const each of areas) assert.ok(gap + size <= each.offset || gap >= each.offset + each.size)
    }),
  )
})

test("a keyslot number is the one wanted, or the first free one", () => {
  const { metadata } = header(Array.from({ length: 3 }, (_, i) => ({ offset: BigInt(i) * 64n * KIB, size: PAGE })))
  assert.equal(freeSlot(metadata, null), 3)
  assert.equal(freeSlot(metadata, 31), 31)
  assert.throws(() => freeSlot(metadata, 1), { code: "KEYSLOT_TAKEN", exitCode: 1 })
  const full = header(Array.from({ length: 32 }, (_, i) => ({ offset: BigInt(i) * 64n * KIB, size: PAGE })))
  assert.throws(() => freeSlot(full.metadata, null), { code: "KEYSLOTS_FULL", exitCode: 1 })
})
