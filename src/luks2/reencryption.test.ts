import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { runs } from "../testing/runs.ts"
import { emitMetadata } from "./emit.ts"
import type { LuksDigest, LuksHeader, LuksKeyslot, LuksSegment, Metadata } from "./metadata.ts"
import { parseMetadata } from "./parse.ts"
import { foreignKind, isBackward, reencryptionOf, sideOf } from "./reencryption.ts"
import { begun, ended, roomForPass, withState } from "./reencryption-header.ts"
import { behindZone, converted, placed, positionOf, reencryptionWords } from "./reencryption-position.ts"
import { unmet } from "./volume-header.ts"

const HEADER_SIZE = 16384
const OFFSET = 4n << 20n

const keyslot = (number: number, keySize: number): LuksKeyslot => ({
  type: "luks2",
  keySize,
  af: { type: "luks1", stripes: 4000, hash: "sha256" },
  area: {
    type: "raw",
    offset: BigInt(2 * HEADER_SIZE + number * 258048),
    size: 258048n,
    encryption: "aes-xts-plain64",
    keySize: 64,
  },
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000, salt: new Uint8Array(32) },
  priority: null,
})
const digest = (keyslots: readonly number[], segments: readonly number[]): LuksDigest => ({
  type: "pbkdf2",
  keyslots,
  segments,
  hash: "sha256",
  iterations: 1000,
  salt: new Uint8Array(32),
  digest: new Uint8Array(32),
})

/** One segment and a keyslot of each key, as before it begins. */
function volume(size: bigint | null): Metadata {
  const segment: LuksSegment = {
    type: "crypt",
    offset: OFFSET,
    size,
    ivTweak: 0n,
    encryption: "aes-xts-plain64",
    sectorSize: 512,
    integrity: false,
    flags: [],
  }
  return {
    keyslots: new Map([
      [0, keyslot(0, 64)],
      [1, keyslot(1, 32)],
    ]),
    segments: new Map([[0, segment]]),
    digests: new Map([
      [0, digest([0], [0])],
      [1, digest([1], [])],
    ]),
    tokens: new Map(),
    config: { jsonSize: BigInt(HEADER_SIZE - 4096), keyslotsSize: 2080768n, flags: [], requirements: [] },
  }
}

const headerOf = (metadata: Metadata): LuksHeader => ({
  uuid: "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11",
  label: "",
  subsystem: "",
  sequenceId: 1n,
  headerSize: HEADER_SIZE,
  metadata,
})

const reread = (metadata: Metadata): Metadata => parseMetadata(emitMetadata(metadata), HEADER_SIZE)

function entered(fixed: boolean, total: bigint, type: "checksum" | "journal"): Metadata {
  const metadata = volume(fixed ? total : null)
  const { slot, offset, size } = roomForPass(headerOf(metadata))!
  const final = { ...metadata.segments.get(0)!, sectorSize: 4096 }
  const area = { type, offset, size, block: 4096 }
  const previous = metadata.segments.get(0)!
  const keys = { oldDigest: 0, newDigest: 1, verification: digest([], []) }
  return begun(metadata, { slot, mode: "reencrypt", area, previous, final, moved: null, ...keys }, total)
}

const UNIT = 4096n
const places = fc
  .record({
    zones: fc.bigInt(1n, 1000n),
    position: fc.bigInt(0n, 1000n),
    hot: fc.bigInt(0n, 1000n),
    fixed: fc.boolean(),
  })
  .filter(({ zones, position, hot }) => position < zones && position + hot <= zones)

test("each position is a valid header, and is read back from it", () => {
  fc.assert(
    fc.property(places, fc.constantFrom("checksum" as const, "journal" as const), ({ zones, fixed, ...at }, type) => {
      const total = zones * UNIT
      const begins = reread(entered(fixed, total, type))
      const found = reencryptionOf(begins)!
      assert.equal(foreignKind(found), null)
      assert.deepEqual(positionOf(begins, found), { position: 0n, hot: 0n, done: false })
      const where = { position: at.position * UNIT, hot: at.hot * UNIT }
      const state = { mac: new Uint8Array(32).fill(1), probe: new Uint8Array(32).fill(2), size: total }
      const metadata = reread(withState(placed(begins, found, where, total), state))
      const again = reencryptionOf(metadata)!
      assert.deepEqual(positionOf(metadata, again), { ...where, done: false })
      assert.deepEqual({ ...again, state: null }, { ...found, state: null })
      assert.deepEqual(again.state, state)
      // And what ends it is one segment of the new key.
      const keyslots = new Map([...metadata.keyslots].filter(([slot]) => slot !== 0))
      const digests = new Map([...metadata.digests].map(([n, each]) => [n, n === 0 ? { ...each, keyslots: [] } : each]))
      const after = reread(ended({ ...metadata, keyslots, digests }, again))
      assert.deepEqual([...after.segments.values()], [found.final])
      assert.deepEqual([[...after.digests.keys()], [...after.keyslots.keys()], after.tokens.size], [[1], [1], 0])
      assert.ok(!emitMetadata(after).includes("requirements"))
    }),
    { numRuns: runs(1000, 200) },
  )
})

test("a shift that is not a number is refused where the data move, and means nothing where they do not", () => {
  const text = (type: string) => {
    const metadata = JSON.parse(emitMetadata(entered(false, 8192n, "checksum")))
    Object.assign(metadata.keyslots[2].area, { type, shift_size: "many" })
    return JSON.stringify(metadata)
  }
  for (const type of ["datashift", "datashift-checksum", "datashift-journal"]) {
    assert.throws(() => parseMetadata(text(type), HEADER_SIZE), { code: "LUKS2_INVALID", message: /shift_size/ })
  }
  for (const type of ["checksum", "journal", "none"]) {
    assert.equal(reencryptionOf(parseMetadata(text(type), HEADER_SIZE))!.area.shift, 0n)
  }
})

test("a volume that requires what is not known is refused with the way out that there is", () => {
  const requiring = (requirement: string) => {
    const metadata = volume(null)
    return unmet(headerOf({ ...metadata, config: { ...metadata.config, requirements: [requirement] } }))
  }
  const pending = unmet(headerOf(entered(false, 8192n, "checksum")))
  for (const { code, exitCode } of [requiring("inline-hw-tags"), requiring("offline-reencrypt"), pending]) {
    assert.deepEqual([code, exitCode], ["LUKS2_REQUIREMENTS", 4])
  }
  assert.match(requiring("inline-hw-tags").message, /requires inline-hw-tags.*use the program that made it/)
  assert.match(requiring("offline-reencrypt").message, /requires offline-reencrypt.*cryptsetup reencrypt/)
  assert.match(pending.message, /pending \(forward, resilience checksum.*tresor reencrypt --resume/)
})

const LINEAR: LuksSegment = {
  type: "linear",
  offset: 0n,
  size: null,
  ivTweak: 0n,
  encryption: "",
  sectorSize: 512,
  integrity: false,
  flags: [],
}
const SHIFT = OFFSET

/** To or from plaintext, with one key; `shift`: the data move. */
function plainEntered(mode: "encrypt" | "decrypt", shift: bigint, total: bigint): Metadata {
  const base = volume(null)
  const crypt: LuksSegment = { ...base.segments.get(0)!, offset: shift, sectorSize: 4096 }
  const metadata: Metadata = {
    ...base,
    keyslots: new Map([[0, keyslot(0, 64)]]),
    digests: new Map([[0, digest([0], [0])]]),
    segments: new Map([[0, crypt]]),
  }
  const plain = shift === 0n ? LINEAR : { ...LINEAR, size: total }
  const { slot, offset, size } = roomForPass(headerOf(metadata))!
  const encrypts = mode === "encrypt"
  return begun(
    metadata,
    {
      slot,
      mode,
      area: { type: shift === 0n ? "checksum" : "datashift", offset, size, block: 4096 },
      previous: encrypts ? plain : crypt,
      final: encrypts ? crypt : plain,
      moved: shift === 0n ? null : { ...LINEAR, offset: total + shift, size: shift },
      oldDigest: encrypts ? null : 0,
      newDigest: encrypts ? 0 : null,
      verification: digest([], []),
    },
    total,
  )
}

test("each position of an encryption or a decryption is a valid header, and is read back from it", () => {
  const kinds = fc.constantFrom(["encrypt", 0n], ["encrypt", SHIFT], ["decrypt", 0n]) as fc.Arbitrary<
    readonly ["encrypt" | "decrypt", bigint]
  >
  fc.assert(
    fc.property(places, kinds, ({ zones, ...at }, [mode, shift]) => {
      const total = zones * UNIT + shift
      const begins = reread(plainEntered(mode, shift, total))
      const found = reencryptionOf(begins)!
      assert.equal(foreignKind(found), null)
      const backward = isBackward(found)
      assert.equal(backward, mode === "decrypt" || shift > 0n)
      const first = { position: backward ? total : 0n, hot: 0n, done: false }
      assert.deepEqual(positionOf(begins, found, total), first)
      const hot = at.hot * UNIT
      const position = backward ? total - at.position * UNIT : at.position * UNIT
      // No zone reaches into what was moved.
      const where = { position, hot: position - hot < shift && backward ? position - shift : hot }
      const metadata = reread(placed(begins, found, where, total))
      const again = reencryptionOf(metadata)!
      assert.deepEqual(positionOf(metadata, again, total), { ...where, done: false })
      assert.equal(converted(again, where, total), at.position * UNIT)
      const after = reread(ended({ ...metadata, ...(mode === "decrypt" ? { keyslots: new Map() } : {}) }, again))
      assert.deepEqual([...after.segments.values()], [found.final])
      assert.equal(after.digests.size, mode === "decrypt" ? 0 : 1)
    }),
    { numRuns: runs(1000, 200) },
  )
})

/** Bytes that lie in the place of the header. */
const FIRST = 4n * UNIT

/** To plaintext that takes the header's place, too. */
function downEntered(total: bigint, fixed = false): Metadata {
  const size = fixed ? total : null
  const base = volume(size)
  const crypt: LuksSegment = { ...base.segments.get(0)!, offset: SHIFT, sectorSize: 4096 }
  const metadata: Metadata = {
    ...base,
    keyslots: new Map([[0, keyslot(0, 64)]]),
    digests: new Map([[0, digest([0], [0])]]),
    segments: new Map([[0, crypt]]),
  }
  const { slot, ...area } = roomForPass(headerOf(metadata))!
  return begun(
    metadata,
    {
      slot,
      mode: "decrypt",
      area: { type: "datashift-checksum", ...area, block: 4096 },
      previous: crypt,
      final: { ...LINEAR, size },
      moved: { ...crypt, offset: 0n, size: FIRST },
      oldDigest: 0,
      newDigest: null,
      verification: digest([], []),
    },
    total,
  )
}

test("each position of a decryption that moves data down is a valid header, and is read back from it", () => {
  fc.assert(
    fc.property(places, fc.boolean(), ({ zones, fixed, ...at }, last) => {
      const total = zones * UNIT + FIRST
      const begins = reread(downEntered(total, fixed))
      const found = reencryptionOf(begins)!
      assert.deepEqual([foreignKind(found), found.requirement], [null, "online-reencrypt-v3"])
      assert.deepEqual(positionOf(begins, found, total), { position: FIRST, hot: 0n, done: false })
      const where = last ? { position: 0n, hot: FIRST } : { position: FIRST + at.position * UNIT, hot: at.hot * UNIT }
      const metadata = reread(placed(begins, found, where, total))
      const again = reencryptionOf(metadata)!
      assert.deepEqual(positionOf(metadata, again, total), { ...where, done: false })
      assert.equal(converted(again, where, total), last ? total - FIRST : at.position * UNIT)
      assert.equal(behindZone(again, where), last ? 0n : where.position + where.hot)
      const after = reread(ended({ ...metadata, keyslots: new Map() }, again))
      assert.deepEqual([...after.segments.values()], [found.final])
    }),
    { numRuns: runs(1000, 200) },
  )
})

test("segments of a decryption that moves data down which contradict each other are refused", () => {
  const total = 64n * UNIT + FIRST
  const begins = downEntered(total)
  const found = reencryptionOf(begins)!
  const middle = placed(begins, found, { position: FIRST + 8n * UNIT, hot: 4n * UNIT }, total)
  const at = (metadata: Metadata, number: number, changes: Partial<LuksSegment>) => {
    const segments = new Map(metadata.segments)
    segments.set(number, { ...segments.get(number)!, ...changes })
    return String(positionOf({ ...metadata, segments }, found, total))
  }
  assert.match(at(middle, 0, { size: FIRST + UNIT }), /not as long as what was moved/)
  assert.match(at(middle, 0, { offset: SHIFT }), /not at its place/)
  assert.match(at(middle, 1, { flags: ["in-reencryption"] }), /segment 2 is out of order/)
  assert.match(at(middle, 1, { size: null }), /segment 2 is not at its place/)
  assert.match(at(middle, 2, { offset: FIRST }), /not at its place/)
  assert.match(at(middle, 2, { size: null }), /the segment under way has no size/)
  assert.match(at(middle, 3, { flags: ["in-reencryption"] }), /marked wrongly/)
  assert.match(at(middle, 3, { sectorSize: 512 }), /of neither kind/)
  const last = placed(begins, found, { position: 0n, hot: FIRST }, total)
  assert.match(at(last, 1, { flags: ["in-reencryption"], size: 64n * UNIT }), /segment 1 is out of order/)
  // cryptsetup's last header but one.
  const segments = new Map([[0, LINEAR], ...[...begins.segments].slice(2).map(([, each], n) => [n + 1, each] as const)])
  const digests = new Map([[0, digest([0], [1, 3])]])
  assert.deepEqual(positionOf({ ...begins, segments, digests }, found, total), { position: 0n, hot: 0n, done: true })
})

test("a segment that claims more than was moved, or a digest for plaintext, is refused", () => {
  const total = 64n * UNIT + SHIFT
  const begins = plainEntered("encrypt", SHIFT, total)
  const found = reencryptionOf(begins)!
  const changed = (number: number, changes: Partial<LuksSegment>) => {
    const segments = new Map(begins.segments)
    segments.set(number, { ...segments.get(number)!, ...changes })
    return positionOf({ ...begins, segments }, found, total)
  }
  assert.match(String(changed(0, { size: SHIFT + UNIT })), /longer than what was moved/)
  assert.match(String(changed(1, { offset: SHIFT + UNIT })), /not at its place/)
  assert.match(String(changed(1, { size: UNIT })), /not as long as the volume/)
  assert.match(String(changed(1, { flags: ["in-reencryption"] })), /marked wrongly/)
  const digests = new Map(begins.digests)
  digests.set(0, { ...digests.get(0)!, segments: [0, 3] })
  assert.match(String(positionOf({ ...begins, digests }, found, total)), /no digest names segment 0/)
})

test("everything under the new key is told by the digest of segment 0, whether or not cryptsetup had ended", () => {
  const metadata = entered(false, 64n * UNIT, "checksum")
  const found = reencryptionOf(metadata)!
  const all = placed(metadata, found, { position: 64n * UNIT, hot: 0n }, 64n * UNIT)
  const dynamic = new Map([...all.segments].map(([n, each]) => [n, n === 0 ? { ...each, size: null } : each]))
  const done = reread({ ...all, segments: dynamic })
  assert.deepEqual(positionOf(done, reencryptionOf(done)!), { position: 0n, hot: 0n, done: true })
  assert.match(reencryptionWords(done, found, null), /all data under the new key/)
})

test("segments that are not what their digests say are refused", () => {
  const total = 64n * UNIT
  const begins = entered(false, total, "checksum")
  const found = reencryptionOf(begins)!
  const middle = placed(begins, found, { position: 8n * UNIT, hot: 4n * UNIT }, total)
  const changed = (number: number, changes: Partial<LuksSegment>) =>
    positionOf(
      {
        ...middle,
        segments: new Map([...middle.segments].map(([n, each]) => [n, n === number ? { ...each, ...changes } : each])),
      },
      found,
    )
  const belongs = (old: readonly number[], fresh: readonly number[]) => {
    const digests = new Map(middle.digests)
    digests.set(0, { ...digests.get(0)!, segments: old })
    digests.set(1, { ...digests.get(1)!, segments: fresh })
    return positionOf({ ...middle, digests }, found)
  }
  assert.match(String(changed(1, { flags: [] })), /marked wrongly/)
  assert.match(String(changed(2, { ivTweak: 0n })), /not at its place/)
  assert.match(String(changed(2, { offset: OFFSET + 13n * UNIT })), /not at its place/)
  assert.match(String(changed(0, { sectorSize: 512 })), /of neither kind/)
  assert.match(String(belongs([1, 2, 3], [1, 4])), /no digest names segment 0/)
  assert.match(String(belongs([0, 1, 3], [1, 2, 4])), /of neither kind/)
})

test("a side is the header before or after, in which the other key's keyslots keep their place", () => {
  const metadata = entered(false, 64n * UNIT, "journal")
  const found = reencryptionOf(metadata)!
  const [old, fresh] = (["old", "new"] as const).map((side) => sideOf(headerOf(metadata), found, side).metadata)
  assert.deepEqual([old!.segments.get(0), fresh!.segments.get(0)], [found.previous, found.final])
  assert.deepEqual(
    [...old!.keyslots.values()].map(({ type }) => type),
    ["luks2", "taken", "taken"],
  )
  assert.deepEqual(
    [...fresh!.keyslots.values()].map(({ type }) => type),
    ["taken", "luks2", "taken"],
  )
  assert.deepEqual([old!.digests.size, old!.config.requirements], [1, []])
})

test("kinds that only cryptsetup finishes are named", () => {
  const found = reencryptionOf(entered(false, 64n * UNIT, "checksum"))!
  const kind = (changes: object) => foreignKind({ ...found, ...changes })
  assert.match(kind({ requirement: "online-reencrypt" })!, /requires online-reencrypt/)
  assert.match(kind({ mode: "decrypt" })!, /it is to decrypt, and its segments say otherwise/)
  assert.match(kind({ direction: "backward" })!, /direction is backward/)
  assert.match(kind({ area: { ...found.area, type: "none" } })!, /resilience is none/)
  assert.match(kind({ area: { ...found.area, hash: "sha1" } })!, /checksums are of sha1/)
  assert.match(kind({ final: { ...found.final, offset: 8n << 20n } })!, /moves the data/)
  const shifts = reencryptionOf(plainEntered("encrypt", SHIFT, 64n * UNIT + SHIFT))!
  const other = (changes: object) => foreignKind({ ...shifts, ...changes })
  assert.match(other({ moved: null })!, /moves the data/)
  assert.match(other({ moved: { ...shifts.moved!, offset: 0n } })!, /moves the data/)
  assert.match(other({ direction: "forward" })!, /direction is forward/)
  assert.match(other({ area: { ...shifts.area, shift: 4096n } })!, /moves the data/)
  assert.match(other({ previous: shifts.final })!, /segments say otherwise/)
  const down = reencryptionOf(downEntered(64n * UNIT))!
  const third = (changes: object) => foreignKind({ ...down, ...changes })
  assert.match(third({ requirement: "online-reencrypt-v2" })!, /requires online-reencrypt-v2/)
  assert.match(third({ direction: "backward" })!, /direction is backward/)
  assert.match(third({ area: { ...down.area, type: "datashift" } })!, /moves the data/)
  assert.match(third({ area: { ...down.area, hash: "sha1" } })!, /checksums are of sha1/)
  assert.match(third({ moved: { ...down.moved!, size: SHIFT + UNIT } })!, /moves the data/)
  assert.match(third({ moved: { ...down.moved!, offset: UNIT } })!, /moves the data/)
  assert.match(third({ final: { ...down.final, size: UNIT } })!, /moves the data/)
})
