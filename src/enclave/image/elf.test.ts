import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"
import { toHex } from "../../base/hex.ts"
import { buildElf, CONF_TEXT, type ElfParts, ENCLU, FLAGS, sampleParts, tcsPage } from "../../testing/image.ts"
import { type EnclaveConf, parseConf } from "./conf.ts"
import { parseImage } from "./elf.ts"
import { measureImage, measureSgxs, sgxsStream } from "./sgxs.ts"

const conf = parseConf(CONF_TEXT)
const newSha256 = () => createHash("sha256")

function refused(parts: ElfParts, fact: RegExp, overrides: Partial<EnclaveConf> = {}): void {
  assert.throws(() => parseImage(buildElf(parts), { ...conf, ...overrides }), { code: "IMAGE_REFUSED", message: fact })
}

/** The sample with one segment changed. */
function altered(index: number, change: Partial<ElfParts["segments"][number]>): ElfParts {
  const parts = sampleParts()
  return { ...parts, segments: parts.segments.map((s, i) => (i === index ? { ...s, ...change } : s)) }
}

const [TEXT, DATA, TCS, HEAP, DYNAMIC] = [0, 1, 2, 3, 4]

test("reads segments, threads, heap and the ENCLU site in load order", () => {
  const image = parseImage(buildElf(sampleParts()), conf)
  assert.deepEqual(
    image.segments.map(({ offset, size, secinfoFlags, measured, kind }) => ({
      offset,
      size,
      secinfoFlags,
      measured,
      kind,
    })),
    [
      { offset: 0, size: 0x1000, secinfoFlags: 0x205, measured: true, kind: "reg" },
      { offset: 0x2000, size: 0x3000, secinfoFlags: 0x203, measured: true, kind: "reg" },
      { offset: 0x5000, size: 0x1000, secinfoFlags: 0x100, measured: true, kind: "tcs" },
      { offset: 0x8000, size: 0x4000, secinfoFlags: 0x203, measured: false, kind: "heap" },
    ],
  )
  assert.equal(image.segments[DATA]!.data.length, 5, "zero pages are not in the file")
  assert.deepEqual(image.dynamic, { offset: 0xc000, size: 0x2000 })
  assert.equal(image.heapSize, 0x4000)
  assert.equal(image.encluSite, 16)
  assert.deepEqual(image.threads, [{ offset: 0x5000, ossa: 0x4000, nssa: 1, oentry: 0, ofsBase: 0, ogsBase: 0 }])
})

test("what is written as SGXS is measured as the image is", () => {
  const image = parseImage(buildElf(sampleParts()), conf)
  // Pieces share buffers: take each before the next is asked for.
  const pieces: Buffer[] = []
  for (const piece of sgxsStream(image)) pieces.push(Buffer.from(piece))
  const written = Buffer.concat(pieces)
  const read = measureSgxs(written, newSha256)
  assert.deepEqual(read, measureImage(image, newSha256))
  assert.equal(toHex(read.mrenclave), createHash("sha256").update(written).digest("hex"))
  assert.deepEqual([read.pages, read.threads, read.heap, read.size], [9, 1, 0x4000, 0x10000])
})

test("MRENCLAVE follows content, permissions, offset and order, and nothing else", () => {
  const of = (parts: ElfParts) => toHex(measureImage(parseImage(buildElf(parts), conf), newSha256).mrenclave)
  const base = of(sampleParts())
  assert.notEqual(of(altered(DATA, { data: Uint8Array.of(1, 2, 3, 4, 6) })), base)
  assert.notEqual(of(altered(HEAP, { address: 0x7000 })), base)
  const { segments } = sampleParts()
  assert.notEqual(of({ segments: [segments[1]!, segments[0]!, ...segments.slice(2)] }), base)
  assert.equal(of(altered(DYNAMIC, { memorySize: 0x1000 })), base, "the dynamic heap is not added")
  assert.equal(of(altered(DATA, { data: Uint8Array.of(1, 2, 3, 4, 5, 0, 0) })), base, "zeros in the file or not")
})

test("refuses what a loader would have to fix up", () => {
  refused(
    { ...sampleParts(), sections: [{ name: ".rela.dyn", type: 4, flags: 2, size: 24 }] },
    /relocations \(\.rela\.dyn/,
  )
  refused({ ...sampleParts(), sections: [{ name: ".rel.text", type: 9, flags: 0, size: 16 }] }, /relocations/)
  refused({ ...sampleParts(), sections: [{ name: ".relr.dyn", type: 19, flags: 2, size: 8 }] }, /relocations/)
  refused(
    { ...sampleParts(), sections: [{ name: ".got", type: 1, flags: 3, size: 8 }] },
    /global offset table \(\.got,/,
  )
  refused({ ...sampleParts(), sections: [{ name: ".got.plt", type: 1, flags: 3, size: 24 }] }, /global offset table/)
  refused({ ...sampleParts(), sections: [{ name: ".dynamic", type: 6, flags: 3, size: 16 }] }, /dynamic section/)
  refused({ ...sampleParts(), extraHeaders: [{ type: 2, flags: 6 }] }, /PT_DYNAMIC/)
  refused({ ...sampleParts(), extraHeaders: [{ type: 3, flags: 4 }] }, /PT_INTERP/)
  refused({ ...sampleParts(), extraHeaders: [{ type: 7, flags: 4 }] }, /PT_TLS/)
  refused({ ...sampleParts(), extraHeaders: [{ type: 4, flags: 4 }] }, /PT_NOTE/)
  refused({ ...sampleParts(), extraHeaders: [{ type: 0x6474e551, flags: 7 }] }, /executable stack/)
  const clean = { ...sampleParts(), sections: [{ name: ".got", type: 1, flags: 3, size: 0 }] }
  assert.equal(parseImage(buildElf(clean), conf).threads.length, 1)
})

test("refuses segments that are no enclave pages", () => {
  refused(altered(TEXT, { flags: FLAGS.r | FLAGS.w | FLAGS.x }), /0x0 is writable and executable/)
  refused(altered(TEXT, { flags: FLAGS.x }), /not readable/)
  refused(altered(DATA, { address: 0x2010 }), /0x2010 is not page aligned/)
  refused(altered(DYNAMIC, { memorySize: 0x5000 }), /0xc000 reaches beyond the enclave's size, 0x10000/)
  refused(altered(HEAP, { address: 0x4000 }), /overlaps/)
  refused(altered(DYNAMIC, { address: 0xb000 }), /overlaps/)
  refused(altered(HEAP, { data: Uint8Array.of(1) }), /heap but has content/)
  refused(altered(HEAP, { flags: FLAGS.r | FLAGS.unmeasured }), /heap but not read-write/)
  refused(altered(HEAP, { flags: FLAGS.r | FLAGS.w | FLAGS.unmeasured | FLAGS.reserved }), /more than one kind/)
  refused(altered(HEAP, { flags: FLAGS.r | FLAGS.w | FLAGS.reserved }), /second dynamic heap/)
  refused(altered(DATA, { memorySize: 4 }), /more bytes in the file/)
  refused(sampleParts(), /not a power of two/, { size: 0x18000 })
})

test("refuses a TCS that EADD or EENTER would, naming the field", () => {
  const tcs = (fields: Parameters<typeof tcsPage>[0], fact: RegExp) =>
    refused(altered(TCS, { data: tcsPage(fields) }), fact)
  tcs({ state: 1n }, /STATE/)
  tcs({ flags: 1n }, /FLAGS/)
  tcs({ ossa: 0x4010n }, /OSSA that is not page aligned/)
  tcs({ ossa: 0x8000n }, /OSSA whose frame is not in writable measured/)
  tcs({ ossa: 0x10000n }, /OSSA outside the enclave/)
  tcs({ ossa: 1n << 60n }, /OSSA outside the enclave/)
  tcs({ cssa: 1 }, /CSSA/)
  tcs({ nssa: 2 }, /NSSA 2/)
  tcs({ nssa: 0 }, /NSSA 0/)
  tcs({ oentry: 0x2000n }, /OENTRY outside executable/)
  tcs({ aep: 1n }, /AEP/)
  tcs({ ofsBase: 0x10n }, /OFSBASE/)
  tcs({ ogsBase: 0x10n }, /OGSBASE/)
  tcs({ fsLimit: 0x1000 }, /FSLIMIT/)
  tcs({ gsLimit: 0 }, /GSLIMIT/)
  const dirty = tcsPage({})
  dirty[4095] = 1
  refused(altered(TCS, { data: dirty }), /reserved/)
  const twice = new Uint8Array(0x2000)
  twice.set(tcsPage({}))
  twice.set(tcsPage({}), 0x1000)
  refused(altered(TCS, { data: twice, memorySize: 0x2000 }), /shares its SSA frame/)
  const parts = sampleParts()
  refused({ segments: parts.segments.filter((_, i) => i !== TCS) }, /no TCS/)
  refused(sampleParts(), /OSSA whose frame/, { ssaFrameSize: 2 })
})

test("wants exactly one ENCLU, padded, where its symbol says", () => {
  const code = (...pieces: readonly (readonly number[])[]) => altered(TEXT, { data: Uint8Array.from(pieces.flat()) })
  refused(code([0xc3]), /no ENCLU/)
  refused(code(ENCLU, [0x90, 0x90], ENCLU, [0x90, 0x90]), /2 ENCLU sites \(0x0, 0x5\)/)
  refused(code([0x48, 0xb8], ENCLU, [0, 0], ENCLU, [0x90, 0x90]), /2 ENCLU sites/)
  refused(code(ENCLU, [0xc3, 0x90]), /not followed by two bytes of nop/)
  refused(code(ENCLU), /not followed/)
  assert.equal(parseImage(buildElf(code(ENCLU, [0x66, 0x90])), conf).encluSite, 0)
  const data = altered(DATA, { data: Uint8Array.from(ENCLU) })
  assert.equal(parseImage(buildElf(data), conf).encluSite, 16, "data cannot be executed")
  refused({ ...sampleParts(), symbol: { name: "tresor_enclu_site", value: 8 } }, /tresor_enclu_site is 0x8/)
  const right = { ...sampleParts(), symbol: { name: "tresor_enclu_site", value: 16 } }
  assert.equal(parseImage(buildElf(right), conf).encluSite, 16)
})

test("refuses files that are not our ELF, at every truncation", () => {
  const elf = buildElf(sampleParts())
  for (let length = 0; length < elf.length; length += length < 700 ? 1 : 509) {
    assert.throws(() => parseImage(elf.subarray(0, length), conf), { code: "IMAGE_REFUSED" }, `${length} bytes`)
  }
  const patch = (at: number, value: number) => Uint8Array.from(elf, (byte, i) => (i === at ? value : byte))
  assert.throws(() => parseImage(patch(4, 1), conf), /64-bit/)
  assert.throws(() => parseImage(patch(16, 3), conf), /ELF type 3/)
  assert.throws(() => parseImage(patch(18, 3), conf), /machine 3/)
  assert.throws(() => parseImage(patch(39, 0x7f), conf), { code: "IMAGE_REFUSED" })
})

test("enclave.conf: each line matters", () => {
  const replace = (from: string, to: string) => CONF_TEXT.replace(from, to)
  assert.equal(parseConf(replace("0x10000", "64K")).size, 0x10000)
  assert.equal(parseConf(replace("isv_svn = 2", "isv_svn = 2 # raised")).isvSvn, 2)
  const bad: readonly (readonly [string, RegExp])[] = [
    [replace("0x10000", "0x18000"), /power of two/],
    [replace("ssa_frame_size = 1", "ssa_frame_size = 0"), /ssa_frame_size/],
    [replace("isv_svn = 2", "isv_svn = 65536"), /isv_svn is larger/],
    [replace("isv_svn", "isv_snv"), /unknown key, isv_snv/],
    [replace("isv_svn = 2", "isv_svn = two"), /line 4/],
    [replace("isv_svn = 2\n", ""), /isv_svn is missing/],
    [`${CONF_TEXT}isv_svn = 3\n`, /given twice/],
    [replace("attributes = 4", "attributes = 6"), /DEBUG/],
    [replace("attributes = 4", "attributes = 5"), /INIT/],
    [replace("attributes = 4", "attributes = 0"), /MODE64/],
    [replace("0xffffffffffffffff", "0xfffffffffffffffd"), /host could set DEBUG/],
    [replace("xfrm = 3", "xfrm = 1"), /x87/],
    [replace("xfrm_mask = 0xffffffffffffff1b", "xfrm_mask = 0"), /x87/],
    [`__proto__ = 1\n${CONF_TEXT}`, /unknown key/],
  ]
  for (const [text, fact] of bad) assert.throws(() => parseConf(text), { code: "IMAGE_BAD_CONF", message: fact })
})
