/** The header's layers without a disk: JSON in and out, both copies, crashes at any moment, and whatever else a disk may hold. */
import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { imageOf, textOf, vectors } from "../../test/luks2/vector-image.ts"
import { TresorError } from "../base/errors.ts"
import { encodeCopy } from "../luks2/binary-header.ts"
import { emitMetadata } from "../luks2/emit.ts"
import type { LuksHeader, Metadata } from "../luks2/metadata.ts"
import { parseMetadata } from "../luks2/parse.ts"
import { encodeRecoveryKey, normalizeRecoveryKey } from "../luks2/recovery-key.ts"
import { bytesToText, textToBytes } from "../luks2/text.ts"
import { anyText } from "../testing/any-text.ts"
import { Crash, CrashingStore } from "../testing/crashing-store.ts"
import { FULL, runs } from "../testing/runs.ts"
import { readCopies } from "./copies.ts"
import { HeaderStore } from "./header-store.ts"

const SIZE = 16384
const SALT = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/** What cryptsetup 2.6 writes, with a token and members that nobody knows. */
function sample() {
  return {
    keyslots: {
      "0": {
        type: "luks2",
        key_size: 64,
        af: { type: "luks1", stripes: 4000, hash: "sha256" },
        area: { type: "raw", offset: "32768", size: "258048", encryption: "aes-xts-plain64", key_size: 64 },
        kdf: { type: "argon2id", time: 4, memory: 32, cpus: 1, salt: SALT },
        "of the future": { deep: [1, 2.5e3, null, "\u00e9\n"] },
      },
      "3": {
        type: "luks2",
        key_size: 64,
        priority: 2,
        af: { type: "luks1", stripes: 4000, hash: "sha512" },
        area: { type: "raw", offset: "290816", size: "258048", encryption: "aes-xts-plain64", key_size: 64 },
        kdf: { type: "pbkdf2", hash: "sha512", iterations: 1000, salt: SALT },
      },
    },
    tokens: { "5": { type: "of-another-program", keyslots: ["3"], number: 12345, text: '\\"' } },
    segments: {
      "0": {
        type: "crypt",
        offset: "16777216",
        size: "dynamic",
        iv_tweak: "0",
        encryption: "aes-xts-plain64",
        sector_size: 4096,
      },
    },
    digests: {
      "0": {
        type: "pbkdf2",
        keyslots: ["0", "3"],
        segments: ["0"],
        hash: "sha256",
        iterations: 1000,
        salt: SALT,
        digest: SALT,
      },
    },
    config: { json_size: "12288", keyslots_size: "16744448", flags: ["allow-discards"] },
  }
}

const parse = (value: unknown) => parseMetadata(typeof value === "string" ? value : JSON.stringify(value), SIZE)

const header = (sequenceId = 1n): LuksHeader => ({
  headerSize: SIZE,
  sequenceId,
  label: "a label",
  subsystem: "",
  uuid: "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11",
  metadata: parse(sample()),
})

async function device(primary: LuksHeader | null, secondary: LuksHeader | null): Promise<CrashingStore> {
  const bytes = new Uint8Array(1 << 20)
  for (const [copy, at, from] of [
    ["primary", 0, primary],
    ["secondary", SIZE, secondary],
  ] as const) {
    if (from !== null) bytes.set(await encodeCopy(from, emitMetadata(from.metadata), copy), at)
  }
  return new CrashingStore(bytes)
}

test("what was read is written again: every member, known or not, in the same spelling", () => {
  const text = JSON.stringify(sample()).replace("12345", "18446744073709551615")
  const written = emitMetadata(parse(text))
  assert.deepEqual(JSON.parse(written), JSON.parse(text))
  assert.ok(written.includes("18446744073709551615"), "a number past 2^53 keeps its digits")
  assert.equal(emitMetadata(parse(written)), written)
})

test("members that nobody knows survive, whatever they are", () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string({ minLength: 1 }).map((name) => `x-${name}`),
        fc.jsonValue(),
      ),
      (unknown) => {
        const value = sample()
        Object.assign(value, unknown)
        Object.assign(value.keyslots["0"], unknown)
        Object.assign(value.segments["0"], unknown)
        assert.deepEqual(JSON.parse(emitMetadata(parse(value))), JSON.parse(JSON.stringify(value)))
      },
    ),
    { numRuns: runs(200, 50) },
  )
})

function memory(image: Uint8Array, size: number): CrashingStore {
  const bytes = new Uint8Array(size)
  bytes.set(image)
  return new CrashingStore(bytes)
}

/** Objects that are kept and not used, as a vector names them. */
function unusable({ keyslots, digests, tokens }: Metadata): string[] {
  const faulty = (kind: string, items: ReadonlyMap<number, object>) =>
    [...items].filter(([, item]) => "fault" in item).map(([number]) => `${kind}.${number}`)
  return [...faulty("keyslots", keyslots), ...faulty("digests", digests), ...faulty("tokens", tokens)]
}

for (const vector of vectors) {
  test(`${vector.tresor}: ${vector.oddity}`, async () => {
    const disk = memory(imageOf(vector), 17 << 20)
    if (vector.tresor === "refused") {
      const known = (error: unknown) =>
        error instanceof TresorError && error.exitCode === 4 && /^[^\n]+$/.test(error.message)
      await assert.rejects(readCopies(disk), known)
      return
    }
    const { header } = await readCopies(disk)
    assert.deepEqual(unusable(header.metadata), vector.unusable ?? [])
    if (vector.only === undefined)
      assert.deepEqual(JSON.parse(emitMetadata(header.metadata)), JSON.parse(bytesToText(textOf(vector))))
  })
}

test("a change writes back every byte of what was only kept: texts, labels and tokens that are not UTF-8", async () => {
  const vector = vectors.find(({ name }) => name === "json-no-utf-8")!
  const label = Uint8Array.of(0x6c, 0xff, 0x80, 0xc3, 0xe9)
  const subsystem = Uint8Array.of(0xef, 0xbb, 0xbf, 0x20, 0xc3, 0xa9, 0xed, 0xa0, 0x80)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
  const image = imageOf({ ...vector, binary: { 24: hex(label), 208: hex(subsystem) } })
  const disk = memory(image, 1 << 20)
  const store = await HeaderStore.open(disk)
  await store.update(async (header) => ({ header }))
  for (const at of [0, SIZE]) {
    const copy = disk.bytes.subarray(at, at + SIZE)
    assert.deepEqual([...copy.subarray(24, 24 + label.length + 1)], [...label, 0])
    assert.deepEqual([...copy.subarray(208, 208 + subsystem.length + 1)], [...subsystem, 0])
    assert.ok(Buffer.from(copy).includes(Buffer.from("k\xff\xc3pt", "latin1")), "the token's text")
  }
})

test("bytes become text and the same bytes again; UTF-8 is read as TextDecoder reads it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), anyText({ maxLength: 20 }), (bytes, text) => {
      assert.deepEqual(textToBytes(bytesToText(bytes)), bytes)
      assert.equal(
        bytesToText(new TextEncoder().encode(text)),
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text)),
      )
      const valid = (() => {
        try {
          return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
        } catch {
          return null
        }
      })()
      if (valid === null) assert.match(bytesToText(bytes), /[\udc80-\udcff]/u)
      else assert.equal(bytesToText(bytes), valid)
    }),
    { numRuns: runs(5000, 500) },
  )
})

test("equal names in one object are refused at any depth, for cryptsetup would take the last", () => {
  const text = JSON.stringify(sample())
  for (const [before, after] of [
    [
      '"encryption":"aes-xts-plain64","sector_size"',
      '"encryption":"cipher_null-ecb","encryption":"aes-xts-plain64","sector_size"',
    ],
    ['"keyslots":{', '"keyslots":{},"keyslots":{'],
    ['"type":"of-another-program"', '"type":"tresor","type":"of-another-program"'],
    ['"deep":[', '"deep":[{"a":1,"a":1},'],
  ] as const) {
    assert.ok(text.includes(before), before)
    assert.throws(() => parse(text.replace(before, after)), /twice in one object/)
  }
})

test("JSON nested deeper than anybody would is refused, not a crash", () => {
  const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`
  assert.throws(() => parse(`{"tokens":${deep}}`), TresorError)
})

test("a header changed anywhere is read, or refused by a TresorError", async () => {
  const good = await device(header(), header())
  const valid = good.bytes.slice(0, 2 * SIZE)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(2 * SIZE - 1), fc.nat(255)), { minLength: 1, maxLength: 12 }),
      fc.option(fc.nat(2 * SIZE), { nil: null, freq: 4 }),
      async (changes, cut) => {
        const bytes = valid.slice()
        // Most changes near the start of each copy, where the binary header and the JSON are.
        for (const [at, byte] of changes) bytes[at % 3 === 0 ? at : (at % 700) + (at % 2) * SIZE] = byte
        const changed = new CrashingStore(cut === null ? bytes : bytes.slice(0, cut))
        try {
          const { header: read } = await readCopies(changed)
          assert.equal(read.uuid.length, 36)
        } catch (error) {
          assert.ok(error instanceof TresorError, String(error))
        }
      },
    ),
    { numRuns: runs(3000, 100) },
  )
})

test("JSON changed anywhere, with a checksum that holds, is read or refused by a TresorError", () => {
  const text = JSON.stringify(sample())
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.nat(20), fc.string({ maxLength: 8 }), (at, length, put) => {
      try {
        emitMetadata(parse(text.slice(0, at) + put + text.slice(at + length)))
      } catch (error) {
        assert.ok(error instanceof TresorError, String(error))
      }
    }),
    { numRuns: runs(8000, 300) },
  )
})

test("of two copies the newer valid one counts; opening writes nothing, repair writes the other anew", async () => {
  for (const [primary, secondary, wanted, stale] of [
    [1n, 1n, 1n, []],
    [2n, 1n, 2n, ["secondary"]],
    [1n, 2n, 2n, ["primary"]],
    [3n, null, 3n, ["secondary"]],
    [null, 3n, 3n, ["primary"]],
  ] as const) {
    const disk = await device(primary === null ? null : header(primary), secondary === null ? null : header(secondary))
    const found = await readCopies(disk)
    assert.equal(found.header.sequenceId, wanted)
    assert.deepEqual(found.stale, stale)
    const before = disk.bytes.slice()
    const store = await HeaderStore.open(disk)
    assert.deepEqual([store.stale, disk.bytes], [stale, before])
    if (stale.length > 0) {
      const change = async (old: LuksHeader) => ({ header: { ...old, label: "changed" } })
      await assert.rejects(store.update(change, { unproved: true }), { code: "LUKS2_COPY_BROKEN", exitCode: 4 })
      assert.deepEqual(disk.bytes, before)
    }
    await store.repair()
    assert.deepEqual((await readCopies(disk)).stale, [], "mended")
  }
  await assert.rejects(readCopies(await device(null, null)), { code: "NOT_LUKS", exitCode: 4 })
})

test("a copy with an unknown checksum algorithm, of whatever name, is broken, and the other counts", async () => {
  for (const algorithm of ["md5", "constructor", "toString", "__proto__", ""]) {
    const disk = await device(header(3n), header(3n))
    disk.bytes.fill(0, 72, 104)
    disk.bytes.set(Buffer.from(algorithm), 72)
    const found = await readCopies(disk)
    assert.deepEqual([found.header.sequenceId, found.stale], [3n, ["primary"]], algorithm)
  }
})

test("a broken copy where another format is found is neither opened nor written over", async () => {
  for (const [offset, magic] of [
    [512, "LABELONE"],
    [4096, "\xfc\x4e\x2b\xa9"],
    [(1 << 20) - 8192, "\xfc\x4e\x2b\xa9"],
    [510, "\x55\xaa"],
  ] as const) {
    const disk = await device(header(3n), header(3n))
    const opened = await HeaderStore.open(disk)
    disk.bytes.fill(0, 0, 4096)
    disk.bytes.set(Buffer.from(magic, "latin1"), offset)
    const before = disk.bytes.slice()
    const ambiguous = { code: "LUKS2_AMBIGUOUS", exitCode: 4 }
    await assert.rejects(HeaderStore.open(disk), ambiguous)
    // One that was opened before the other format came.
    await assert.rejects(opened.repair(), ambiguous)
    await assert.rejects(
      opened.update(async (old) => ({ header: old }), { destroys: true }),
      ambiguous,
    )
    assert.deepEqual(disk.bytes, before)
  }
})

test("repair writes nothing when the header is no longer the one that was agreed to", async () => {
  const disk = await device(header(3n), null)
  const store = await HeaderStore.open(disk)
  disk.bytes.set((await device(header(4n), null)).bytes)
  await assert.rejects(store.repair(), { code: "LUKS2_CHANGED", exitCode: 5 })
})

test("a crash at any step, with any of the unsynced blocks lost, leaves the old header or the new one", async () => {
  const area = { offset: 32768n, bytes: new Uint8Array(4096).fill(7) }
  const update = async (disk: CrashingStore) => {
    const store = await HeaderStore.open(disk)
    return store.update(async (old) => ({
      header: { ...old, label: "changed" },
      writeAreas: [area],
      wipeAreas: [{ offset: 290816n, size: 4096n }],
    }))
  }
  const whole = await device(header(5n), header(5n))
  whole.bytes.fill(3, 290816, 290816 + 4096)
  const start = whole.bytes.slice()
  const dry = new CrashingStore(start.slice())
  await update(dry)
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.nat(dry.steps - 1), fc.infiniteStream(fc.boolean()), async (step, keeps) => {
      const disk = new CrashingStore(start.slice())
      disk.crashAt(step)
      await assert.rejects(update(disk), Crash)
      const after = disk.afterCrash(() => keeps.next().value)
      const { header: read } = await readCopies(after)
      seen.add(read.label)
      const areaAt = (offset: number) => after.bytes.subarray(offset, offset + 4096)
      if (read.label === "changed") {
        assert.deepEqual([read.sequenceId, areaAt(32768)], [6n, area.bytes], "a header refers to what is not there")
      } else {
        assert.deepEqual([read.label, read.sequenceId], ["a label", 5n])
        assert.ok(
          areaAt(290816).every((byte) => byte === 3),
          "wiped while a header still refers to it",
        )
      }
    }),
    { numRuns: runs(400, 20) },
  )
  assert.deepEqual([...seen].sort(), ["a label", "changed"])
})

test("a second crash does not fall back to the copy that the first left old, once what it refers to is written over", async () => {
  const area = { offset: 32768n, bytes: new Uint8Array(4096).fill(7) }
  const update = async (disk: CrashingStore) =>
    (await HeaderStore.open(disk)).update(async (old) => {
      const { config } = old.metadata
      return { header: { ...old, metadata: { ...old.metadata, config: { ...config, flags: [] } } }, writeAreas: [area] }
    })
  const torn = await device(header(6n), header(5n))
  torn.bytes.fill(3, 32768, 32768 + 4096)
  const dry = new CrashingStore(torn.bytes.slice())
  await update(dry)
  const seen = new Set<bigint>()
  for (let step = 0; step < dry.steps; step++) {
    for (const kept of FULL ? [0, 1, 8, 9, 64] : [0, 9]) {
      const disk = new CrashingStore(torn.bytes.slice())
      disk.crashAt(step)
      await assert.rejects(update(disk), Crash)
      const after = disk.afterCrash((block) => block < kept)
      const { sequenceId } = (await readCopies(after)).header
      seen.add(sequenceId)
      assert.ok(
        sequenceId > 5n || after.bytes[32768] === 3,
        `step ${step}, ${kept} blocks: keyslots of the old copy are lost`,
      )
    }
  }
  assert.deepEqual([...seen].sort(), [6n, 7n])
})

test("a recovery key is understood in any usual form, and only then", () => {
  const bytes = (text: string) => new TextEncoder().encode(text)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      const text = new TextDecoder().decode(encodeRecoveryKey(key))
      assert.match(text, /^([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}$/)
      for (const form of [
        text,
        text.toUpperCase(),
        text.replaceAll("-", ""),
        text.replaceAll("-", " "),
        `  ${text}\n`,
      ]) {
        assert.deepEqual(normalizeRecoveryKey(bytes(form)), bytes(text))
      }
      for (const wrong of [text.slice(1), `${text}c`, text.replace(/^./, "a"), text.replace("-", "_")]) {
        assert.equal(normalizeRecoveryKey(bytes(wrong)), null, wrong)
      }
    }),
    { numRuns: runs(200, 50) },
  )
})
