/**
 * The software backend's loader against what the SDM says of ECREATE, EADD, EEXTEND and EINIT. Measurements and
 * signatures are checked against src/enclave/image, which shares no code with the addon.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import fc from "fast-check"
import { ABI_VERSION } from "../abi/enclave.ts"
import { installed } from "../base/installation.ts"
import { createEnclave, type NativeEnclaveOptions } from "../native/addon.ts"
import { withCode, within } from "../testing/contract.ts"
import { tcsPage } from "../testing/image.ts"
import { DYNAMIC, HEAP, loadEnclave, makeEnclave, SITE, SIZE, WINDOW } from "../testing/native.ts"
import { parseConf } from "./image/conf.ts"
import { parseImage } from "./image/elf.ts"
import { newSha256 } from "./image/keys.ts"
import { measureImage } from "./image/sgxs.ts"
import { checkSigstruct } from "./image/sigstruct.ts"

const MEMORY_KINDS = ["memfd_secret", "mlock", "plain"]

test("the built image measures as the image tool measures it, is accepted, and says HELLO", () => {
  const conf = parseConf(readFileSync(installed("enclave/enclave.conf"), "utf8"))
  const image = parseImage(readFileSync(installed("enclave/build/tresor.elf")), conf)
  const sigstruct = readFileSync(installed("enclave/build/tresor.sigstruct"))
  const made = { image, mrenclave: new Uint8Array(), sigstruct }
  const native = loadEnclave(made)
  try {
    assert.equal(native.alive, false)
    native.init(sigstruct, image.encluSite)
    assert.equal(native.alive, true)
    assert.deepEqual(native.mrenclave, measureImage(image, newSha256).mrenclave)
    assert.equal(native.dynamicSize, BigInt(image.dynamic!.size))
    assert.ok(
      Object.values(native.memory).every((kind) => MEMORY_KINDS.includes(kind)) && native.memory.stacks !== undefined,
    )

    const hello = new Uint8Array(new ArrayBuffer(176))
    const view = new DataView(hello.buffer)
    view.setUint32(0, 1, true)
    view.setUint32(4, hello.length, true)
    view.setUint32(16, ABI_VERSION, true)
    assert.equal(native.enter(hello), 0)
    assert.equal(native.enter(hello), 2, "HELLO is good once")
    assert.deepEqual(hello.slice(72, 104), native.mrenclave)
    assert.deepEqual(hello.slice(104, 136), native.mrsigner)
    // INIT, DEBUG, MODE64BIT: nothing of this backend passes for production.
    assert.equal(view.getBigUint64(152, true), 7n)
  } finally {
    native.destroy()
  }
})

test("MRENCLAVE is that of an independent implementation for any layout", () => {
  const page = fc.record({
    index: fc.integer({ min: 0, max: 31 }),
    data: fc.uint8Array({ maxLength: 4096 }),
    flags: fc.constantFrom(0x201, 0x203, 0x205),
    measured: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.uniqueArray(page, { minLength: 1, maxLength: 8, selector: (p) => p.index }),
      fc.integer({ min: 1, max: 16 }),
      (pages, ssaFrameSize) => {
        const { image, sigstruct } = makeEnclave()
        const segments = pages.map(({ index, data, flags, measured }) => ({
          offset: index * 4096,
          size: 4096,
          data,
          secinfoFlags: flags,
          measured: measured || flags === 0x205,
          kind: "reg" as const,
        }))
        const other = { ...image, ssaFrameSize, segments, dynamic: null }
        const native = loadEnclave({ image: other, mrenclave: new Uint8Array(), sigstruct })
        try {
          assert.throws(() => native.init(sigstruct, SITE), withCode("SGX_INVALID_MEASUREMENT"))
          assert.deepEqual(native.mrenclave, measureImage(other, newSha256).mrenclave)
        } finally {
          native.destroy()
        }
      },
    ),
    { numRuns: 25 },
  )
})

test("ECREATE refuses what the SDM refuses", () => {
  const good: NativeEnclaveOptions = {
    backend: "software",
    size: BigInt(SIZE),
    ssaFrameSize: 1,
    miscSelect: 0,
    attributes: 4n,
    xfrm: 3n,
    transitionCycles: 0,
    machineSecret: null,
  }
  const refused = (change: Partial<NativeEnclaveOptions>, code: string) => {
    const machineSecret = randomBytes(32)
    assert.throws(() => createEnclave({ ...good, machineSecret, ...change }), withCode(code))
    if (code.startsWith("SGX_")) assert.deepEqual(machineSecret, Buffer.alloc(32), "wiped even so")
  }
  refused({ size: 0x18000n }, "SGX_SIZE")
  refused({ size: 0x1000n }, "SGX_SIZE")
  refused({ size: 0n }, "SGX_SIZE")
  refused({ attributes: 0n }, "SGX_ATTRIBUTES")
  refused({ attributes: 5n }, "SGX_ATTRIBUTES")
  refused({ attributes: 0x14n }, "SGX_ATTRIBUTES")
  refused({ xfrm: 1n }, "SGX_XFRM")
  refused({ xfrm: 0x27n }, "SGX_XFRM")
  refused({ xfrm: 0xe3n }, "SGX_XFRM")
  refused({ xfrm: 0x203n }, "SGX_XFRM")
  refused({ miscSelect: 2 }, "SGX_MISC_SELECT")
  refused({ ssaFrameSize: 0 }, "SGX_SSA_FRAME_SIZE")
  refused({ machineSecret: null }, "ERR_INVALID_ARG_TYPE")
  refused({ machineSecret: new Uint8Array(31) }, "ERR_INVALID_ARG_TYPE")
  refused({ backend: "tpm" as never }, "ERR_INVALID_ARG_TYPE")
})

test("EADD refuses what the SDM refuses, and unmeasured code", () => {
  const native = loadEnclave(makeEnclave())
  const add = (offset: number, size: number, flags: number, measure = true, data: Uint8Array = new Uint8Array()) =>
    native.addPages(offset, size, data, flags, measure)
  const tcs = (fields: Parameters<typeof tcsPage>[0]) => add(0x18000, 4096, 0x100, true, tcsPage(fields))
  try {
    assert.throws(() => add(0x18001, 4096, 0x203), withCode("SGX_PAGE_ALIGNMENT"))
    assert.throws(() => add(0x18000, 4095, 0x203), withCode("SGX_PAGE_ALIGNMENT"))
    assert.throws(() => add(0x18000, 0, 0x203), withCode("SGX_PAGE_ALIGNMENT"))
    assert.throws(() => add(SIZE, 4096, 0x203), withCode("SGX_PAGE_RANGE"))
    assert.throws(() => add(SIZE - 4096, 8192, 0x203), withCode("SGX_PAGE_RANGE"))
    assert.throws(() => add(0x18000, 4096, 0x203, true, new Uint8Array(4097)), withCode("SGX_PAGE_RANGE"))
    assert.throws(() => add(WINDOW, 4096, 0x203), withCode("SGX_PAGE_PRESENT"))
    assert.throws(() => add(DYNAMIC - 4096, 8192, 0x203), withCode("SGX_PAGE_PRESENT"))
    assert.throws(() => native.reserve(0x18000, 4096), withCode("SGX_PAGE_PRESENT"))
    assert.throws(() => add(0x18000, 4096, 0x202), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x207), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x200), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x103), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x000), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x20b), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x205, false), withCode("SGX_SECINFO"))
    assert.throws(() => add(0x18000, 4096, 0x100, false), withCode("SGX_SECINFO"))
    for (const fields of [
      { state: 1n },
      { flags: 1n },
      { cssa: 1 },
      { aep: 8n },
      { nssa: 0 },
      { nssa: 0xffff_ffff },
      { ossa: 0x4008n },
      { ossa: BigInt(SIZE) },
      { ossa: BigInt(SIZE - 4096), nssa: 2 },
      { oentry: BigInt(SIZE) },
      { ofsBase: 0x10n },
      { ogsBase: BigInt(SIZE) },
      { fsLimit: 0 },
      { gsLimit: 0xffff_fffe },
    ]) {
      assert.throws(() => tcs(fields), withCode("SGX_TCS"), JSON.stringify(Object.keys(fields)))
    }
    const dirty = tcsPage({})
    dirty[4095] = 1
    assert.throws(() => add(0x18000, 4096, 0x100, true, dirty), withCode("SGX_TCS"))
    add(0x18000, 4096, 0x203)
    assert.throws(() => add(0x18000, 4096, 0x203), withCode("SGX_PAGE_PRESENT"))
  } finally {
    native.destroy()
  }
})

test("a TCS whose entry is no code or whose SSA cannot be written does not pass EINIT", () => {
  for (const tcs of [{ oentry: BigInt(WINDOW) }, { ossa: 0n }, { ossa: BigInt(HEAP + 4096) }]) {
    const made = makeEnclave({ tcs })
    within(loadEnclave(made), (native) => {
      assert.throws(() => native.init(made.sigstruct, SITE), withCode("SGX_TCS"), Object.keys(tcs)[0])
    })
  }
})

test("EINIT gives the verdict of an independent implementation on any SIGSTRUCT", () => {
  const made = makeEnclave()
  const native = loadEnclave(made)
  const codes = new Map([
    [1, "SGX_INVALID_SIG_STRUCT"],
    [2, "SGX_INVALID_ATTRIBUTE"],
    [4, "SGX_INVALID_MEASUREMENT"],
    [8, "SGX_INVALID_SIGNATURE"],
  ])
  const secs = { mrenclave: made.mrenclave, miscSelect: 0, attributes: 4n, xfrm: 3n }
  const verdict = (bytes: Uint8Array): string | null => {
    const failed = checkSigstruct(bytes, newSha256, secs).find((check) => !check.passed)
    return failed === undefined ? null : codes.get(failed.error)!
  }
  try {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 1807 }), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 2,
        }),
        (changes) => {
          const bytes = Uint8Array.from(made.sigstruct)
          for (const [at, by] of changes) bytes[at]! ^= by
          const wanted = verdict(bytes)
          // Two changes may undo each other; and whatever passes here ends the loop for the others.
          fc.pre(wanted !== null)
          assert.throws(() => native.init(bytes, SITE), withCode(wanted!))
        },
      ),
      { numRuns: 400 },
    )
    assert.throws(() => native.init(made.sigstruct.subarray(1), SITE), withCode("SGX_INVALID_SIG_STRUCT"))
    assert.throws(() => native.init(made.sigstruct, SITE + 1), withCode("SGX_ENCLU_SITE"))
    assert.throws(() => native.init(made.sigstruct, WINDOW), withCode("SGX_ENCLU_SITE"))
    assert.throws(() => native.init(made.sigstruct, SIZE), withCode("SGX_ENCLU_SITE"))
    native.init(made.sigstruct, SITE)
    assert.throws(() => native.init(made.sigstruct, SITE), withCode("SGX_INITIALIZED"))
    assert.throws(() => native.addPages(0x18000, 4096, new Uint8Array(), 0x203, true), withCode("SGX_INITIALIZED"))
  } finally {
    native.destroy()
  }
})

test("EINIT holds attributes, XFRM and MISCSELECT against the signed ones under their masks", () => {
  const made = makeEnclave()
  const load = (change: object) => loadEnclave({ ...made, image: { ...made.image, ...change } })
  for (const change of [{ attributes: 6n }, { miscSelect: 1 }]) {
    within(load(change), (native) => {
      assert.throws(() => native.init(made.sigstruct, SITE), withCode("SGX_INVALID_ATTRIBUTE"))
    })
  }
  // xfrm_mask leaves AVX and AVX-512 open.
  for (const xfrm of [7n, 0xe7n]) within(load({ xfrm }), (native) => native.init(made.sigstruct, SITE))
})
