/**
 * The software backend against what the SDM says of the instructions it stands
 * in for. Measurements and signatures are checked against src/enclave/image,
 * which shares no code with the addon; MACs against node:crypto's AES.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { createCipheriv, randomBytes } from "node:crypto"
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { ABI_VERSION } from "../abi/enclave.ts"
import { installed } from "../base/installation.ts"
import {
  addressOf,
  createEnclave,
  flock,
  type NativeEnclave,
  type NativeEnclaveOptions,
  notifySystemd,
  peerCredentials,
  readPassphrase,
} from "../native/addon.ts"
import { tcsPage } from "../testing/image.ts"
import {
  call,
  callRequest,
  DYNAMIC,
  HEAP,
  Leaf,
  LOST,
  loadEnclave,
  makeEnclave,
  openGate,
  SITE,
  SIZE,
  startEnclave,
  WINDOW,
} from "../testing/native.ts"
import { parseConf } from "./image/conf.ts"
import { parseImage } from "./image/elf.ts"
import { newSha256 } from "./image/keys.ts"
import { measureImage } from "./image/sgxs.ts"
import { checkSigstruct } from "./image/sigstruct.ts"

const MEMORY_KINDS = ["memfd_secret", "mlock", "plain"]

const withCode = (code: string) => (error: NodeJS.ErrnoException) => {
  assert.equal(error.code, code, error.message)
  assert.match(error.message, /^[^\n]+$/)
  return true
}

// ---- loading ----

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

// ---- leaves ----

interface KeyRequest {
  readonly name?: number
  readonly policy?: number
  readonly isvSvn?: number
  readonly cpuSvn?: readonly number[]
  readonly attributeMask?: bigint
  readonly xfrmMask?: bigint
  readonly keyId?: Uint8Array
  readonly miscMask?: number
  readonly configSvn?: number
  readonly reserved?: number
}

function keyRequest(fields: KeyRequest = {}): Uint8Array {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, fields.name ?? 4, true)
  view.setUint16(2, fields.policy ?? 2, true)
  view.setUint16(4, fields.isvSvn ?? 3, true)
  bytes.set(fields.cpuSvn ?? [1], 8)
  view.setBigUint64(24, fields.attributeMask ?? 0n, true)
  view.setBigUint64(32, fields.xfrmMask ?? 0n, true)
  bytes.set(fields.keyId ?? new Uint8Array(), 40)
  view.setUint32(72, fields.miscMask ?? 0, true)
  view.setUint16(76, fields.configSvn ?? 0, true)
  if (fields.reserved !== undefined) bytes[fields.reserved] = 1
  return bytes
}

const KEY_AT = WINDOW + 0x200
const getKey = (native: NativeEnclave, fields: KeyRequest = {}) => {
  const result = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(fields) })
  return { ...result, key: Buffer.from(result.data.subarray(0x200, 0x210)).toString("hex") }
}

/** The seal key, which must be granted. */
function sealKey(native: NativeEnclave, fields: KeyRequest = {}): string {
  const { status, rax, zeroFlag, key } = getKey(native, fields)
  assert.deepEqual([status, rax, zeroFlag], [0, 0, false])
  assert.notEqual(key, "0".repeat(32))
  return key
}

function within<T>(native: NativeEnclave, work: (native: NativeEnclave) => T): T {
  try {
    return work(native)
  } finally {
    native.destroy()
  }
}

async function withinAsync(native: NativeEnclave, work: (native: NativeEnclave) => Promise<void>): Promise<void> {
  try {
    await work(native)
  } finally {
    native.destroy()
  }
}

test("EGETKEY's seal key depends on what the SDM says it depends on", () => {
  const other = { code: [0x4c, 0x8b, 0xc4] } // mov r8, rsp in its other encoding: another MRENCLAVE
  const otherSecret = { machineSecret: new Uint8Array(32).fill(8) }
  within(startEnclave(), (a) => {
    const base = sealKey(a)
    const baseByEnclave = sealKey(a, { policy: 1 })
    assert.equal(sealKey(a), base)
    assert.notEqual(baseByEnclave, base)
    const distinct = [
      base,
      baseByEnclave,
      sealKey(a, { policy: 3 }),
      sealKey(a, { isvSvn: 2 }),
      sealKey(a, { cpuSvn: [0] }),
      sealKey(a, { keyId: new Uint8Array(32).fill(1) }),
      sealKey(a, { attributeMask: 4n }),
      sealKey(a, { xfrmMask: 3n }),
      sealKey(a, { miscMask: 1 }),
    ]
    assert.equal(new Set(distinct).size, distinct.length)

    assert.equal(
      within(startEnclave(), (b) => sealKey(b)),
      base,
      "the same enclave again",
    )
    within(startEnclave(other), (b) => {
      assert.notDeepEqual(b.mrenclave, a.mrenclave)
      assert.deepEqual(b.mrsigner, a.mrsigner)
      assert.equal(sealKey(b), base, "policy MRSIGNER")
      assert.notEqual(sealKey(b, { policy: 1 }), baseByEnclave, "policy MRENCLAVE")
    })
    within(startEnclave({}, otherSecret), (b) => assert.notEqual(sealKey(b), base, "another machine"))
    within(startEnclave({ isvProdId: 8 }), (b) => assert.notEqual(sealKey(b), base, "another product"))
    within(startEnclave({ isvSvn: 4 }), (b) => assert.equal(sealKey(b), base, "a newer version, asking for the old"))
    within(startEnclave({ xfrm: 7n }), (b) => {
      assert.equal(sealKey(b), base, "XFRM is not in the mask")
      assert.notEqual(sealKey(b, { xfrmMask: 4n }), sealKey(a, { xfrmMask: 4n }), "XFRM is in the mask")
    })
  })
})

test("EGETKEY refuses with the SDM's error codes and leaves the key alone", () => {
  within(startEnclave(), (native) => {
    const refused = (fields: KeyRequest, code: number) => {
      const { status, rax, zeroFlag, key } = getKey(native, fields)
      assert.deepEqual([status, rax, zeroFlag, key], [0, code, true, "0".repeat(32)])
    }
    refused({ isvSvn: 4 }, 64)
    refused({ cpuSvn: [2] }, 32)
    refused({ cpuSvn: [0, 1] }, 32)
    refused({ name: 5 }, 256)
    refused({ name: 0xffff }, 256)
    // EINITTOKEN, PROVISION and PROVISION_SEAL need attributes that no enclave here has.
    for (const name of [0, 1, 2]) refused({ name }, 2)
  })
})

test("an ENCLU that would fault in hardware costs the enclave", () => {
  const egetkey = (fields: KeyRequest, rbx = WINDOW, rcx = KEY_AT) => ({
    leaf: Leaf.egetkey,
    rbx,
    rcx,
    data: keyRequest(fields),
  })
  const secinfo = (flags: number, reserved = 0) => {
    const bytes = new Uint8Array(64)
    bytes.set([flags & 0xff, flags >> 8])
    bytes[63] = reserved
    return bytes
  }
  const calls = {
    "a reserved KEYPOLICY bit": egetkey({ policy: 0x42 }),
    "a KSS policy without KSS": egetkey({ policy: 0x12 }),
    "CONFIGSVN without KSS": egetkey({ configSvn: 1 }),
    "reserved bytes of KEYREQUEST": egetkey({ reserved: 511 }),
    "reserved bytes before CPUSVN": egetkey({ reserved: 6 }),
    "an unaligned KEYREQUEST": egetkey({}, WINDOW + 256),
    "an unaligned key": egetkey({}, WINDOW, KEY_AT + 8),
    "a key into code": egetkey({}, WINDOW, 0x800),
    "a KEYREQUEST outside ELRANGE": egetkey({}, SIZE),
    "a key into a TCS": egetkey({}, WINDOW, 0x4000),
    "a key into a hole": egetkey({}, WINDOW, 0x7000),
    "a key into a page not accepted": egetkey({}, WINDOW, DYNAMIC),
    "an unaligned TARGETINFO": { leaf: Leaf.ereport, rbx: WINDOW + 256, rcx: WINDOW, rdx: WINDOW + 0x800 },
    "an unaligned REPORTDATA": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW + 64, rdx: WINDOW + 0x800 },
    "an unaligned REPORT": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW, rdx: WINDOW + 0x880 },
    "a REPORT into code": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW, rdx: 0x800 },
    "EACCEPT outside the dynamic range": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: HEAP, data: secinfo(0x20b) },
    "EACCEPT of half a page": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: DYNAMIC + 8, data: secinfo(0x20b) },
    "reserved bytes of SECINFO": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: DYNAMIC, data: secinfo(0x20b, 1) },
    "EEXIT to inside": { leaf: Leaf.eexit },
    "EENTER from inside": { leaf: 2 },
    "a leaf there is not": { leaf: 77 },
  }
  for (const [name, what] of Object.entries(calls)) {
    within(startEnclave(), (native) => {
      assert.equal(call(native, what).status, LOST, name)
      assert.equal(native.alive, false, name)
      assert.equal(call(native, egetkey({})).status, LOST, name)
    })
  }
})

/** RFC 4493, over node:crypto's AES. */
function cmac(key: Uint8Array, data: Uint8Array): Buffer {
  const block = (input: Uint8Array) => {
    const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false)
    return Buffer.concat([cipher.update(input), cipher.final()])
  }
  const doubled = BigInt(`0x${block(new Uint8Array(16)).toString("hex")}`) << 1n
  const subkey = (doubled & ((1n << 128n) - 1n)) ^ (doubled >> 128n ? 0x87n : 0n)
  const mask = Buffer.from(subkey.toString(16).padStart(32, "0"), "hex")
  let mac = Buffer.alloc(16)
  for (let at = 0; at < data.length; at += 16) {
    const last = at + 16 === data.length
    mac = block(mac.map((byte, i) => byte ^ data[at + i]! ^ (last ? mask[i]! : 0)))
  }
  return mac
}

test("RFC 4493's example, which the comparison below rests on", () => {
  const key = Buffer.from("2b7e151628aed2a6abf7158809cf4f3c", "hex")
  const message = Buffer.from("6bc1bee22e409f96e93d7e117393172a", "hex")
  assert.equal(cmac(key, message).toString("hex"), "070a16b46b4d4144f79bdd9dd04a287c")
})

test("EREPORT is verified by its target with EGETKEY, and by nobody else", () => {
  within(startEnclave({ isvSvn: 9, isvProdId: 0x1234 }), (native) => {
    const target = (fields: { mrenclave?: Uint8Array; attributes?: bigint; xfrm?: bigint }) => {
      const bytes = new Uint8Array(1024)
      const view = new DataView(bytes.buffer)
      bytes.set(fields.mrenclave ?? native.mrenclave)
      view.setBigUint64(32, fields.attributes ?? 7n, true)
      view.setBigUint64(40, fields.xfrm ?? 3n, true)
      for (let i = 0; i < 64; i++) bytes[512 + i] = i + 1
      return bytes
    }
    const reportFor = (fields: Parameters<typeof target>[0]) => {
      const result = call(native, {
        leaf: Leaf.ereport,
        rbx: WINDOW,
        rcx: WINDOW + 512,
        rdx: HEAP,
        data: target(fields),
        from: HEAP,
      })
      assert.equal(result.status, 0)
      return result.data.subarray(0, 432)
    }
    const verifies = (report: Uint8Array) => {
      const key = sealKey(native, { name: 3, keyId: report.subarray(384, 416) })
      return cmac(Buffer.from(key, "hex"), report.subarray(0, 384)).equals(report.subarray(416, 432))
    }
    const report = reportFor({})
    const view = new DataView(report.buffer, report.byteOffset)
    assert.deepEqual(
      report.slice(0, 16),
      Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 1 : 0)),
    )
    assert.equal(view.getBigUint64(48, true), 7n)
    assert.equal(view.getBigUint64(56, true), 3n)
    assert.deepEqual(report.slice(64, 96), native.mrenclave)
    assert.deepEqual(report.slice(128, 160), native.mrsigner)
    assert.equal(view.getUint16(256, true), 0x1234)
    assert.equal(view.getUint16(258, true), 9)
    assert.deepEqual(
      report.slice(320, 384),
      Uint8Array.from({ length: 64 }, (_, i) => i + 1),
    )
    assert.equal(verifies(report), true)
    assert.equal(verifies(reportFor({ mrenclave: new Uint8Array(32) })), false)
    assert.equal(verifies(reportFor({ attributes: 5n })), false)
    assert.equal(verifies(reportFor({ xfrm: 7n })), false)
    const altered = Uint8Array.from(report)
    altered[383]! ^= 1
    assert.equal(verifies(altered), false)
  })
})

test("EACCEPT is good once, and trimmed memory reads as zero", () => {
  within(startEnclave(), (native) => {
    const accept = (flags: number) =>
      call(native, {
        leaf: Leaf.eaccept,
        rbx: WINDOW,
        rcx: DYNAMIC,
        data: Uint8Array.from({ length: 64 }, (_, i) => (i === 0 ? flags & 0xff : i === 1 ? flags >> 8 : 0)),
      })
    /** EREPORT is the enclave's way to write; its CPUSVN is not zero. */
    const report = (at: number) =>
      call(native, { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW + 512, rdx: at, from: DYNAMIC })
    assert.equal(accept(0x203).rax, 19)
    const accepted = accept(0x20b)
    assert.deepEqual([accepted.status, accepted.rax, accepted.zeroFlag], [0, 0, false])
    assert.equal(accept(0x20b).rax, 19)
    assert.notDeepEqual(report(DYNAMIC).data, new Uint8Array(1024))
    native.trimHeap()
    assert.deepEqual(report(HEAP).data, new Uint8Array(1024))
    assert.notDeepEqual(report(DYNAMIC).data, new Uint8Array(1024))
  })
})

// ---- faults and signals ----

test("a fault inside is the end of the enclave and not of the process", async () => {
  const faults = {
    "#UD": [0x0f, 0x0b], // ud2
    "#DE": [0x31, 0xc9, 0xf7, 0xf1], // xor ecx, ecx; div ecx
    "#BP": [0xcc], // int3
    "#PF below": [0x31, 0xc0, 0x8b, 0x00], // xor eax, eax; mov eax, [rax]
    "#PF in a hole": [0x8b, 0x05, 0xfa, 0x6f, 0x00, 0x00], // mov eax, [rip + 0x6ffa]
    "#PF in code": [0x89, 0x05, 0x00, 0x00, 0x00, 0x00], // mov [rip], eax
    "#PF without a stack": [0x31, 0xe4, 0x50], // xor esp, esp; push rax
    "#GP": [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0x00], // a non-canonical address
    "a jump to nowhere": [0x31, 0xc0, 0xff, 0xe0], // xor eax, eax; jmp rax
  }
  for (const [name, code] of Object.entries(faults)) {
    await withinAsync(startEnclave({ code }), async (native) => {
      const lost = native.enterAsync(callRequest({ leaf: 0 }))
      assert.equal(await lost, LOST, name)
      assert.equal(native.alive, false, name)
      assert.equal(native.enter(callRequest({ leaf: 0 })), LOST, name)
    })
    within(startEnclave({ code }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), LOST, name))
  }
})

test("a request that points nowhere faults inside and is caught", () => {
  within(startEnclave(), (native) => {
    // The window to hand back lies beyond ELRANGE.
    assert.equal(call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, from: 0x4000_0000 }).status, LOST)
  })
})

test("who is inside when the enclave is lost is told so; its memory goes with the last one", async () => {
  const native = startEnclave()
  const waiting = callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false })
  const inside = native.enterAsync(waiting)
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(call(native, { leaf: 77 }).status, LOST)
  openGate(waiting)
  assert.equal(await inside, LOST)
  assert.equal(native.alive, false)
  native.trimHeap()
  native.destroy()
})

test("destroy with a thread inside lets it out first", async () => {
  const native = startEnclave()
  const waiting = callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false })
  const inside = native.enterAsync(waiting)
  await new Promise((resolve) => setTimeout(resolve, 20))
  native.destroy()
  assert.equal(native.alive, false)
  openGate(waiting)
  assert.equal(await inside, LOST)
})

test("a thread waits for a free TCS", async () => {
  await withinAsync(startEnclave(), async (native) => {
    const requests = Array.from({ length: 4 }, () =>
      callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false }),
    )
    const entries = requests.map((request) => native.enterAsync(request))
    let done = 0
    for (const entry of entries) void entry.then(() => done++)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const early = done
    for (const request of requests) openGate(request)
    assert.deepEqual(await Promise.all(entries), [0, 0, 0, 0])
    assert.equal(early, 0)
  })
})

interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: { f(at: number): number } }
  readonly RuntimeError: new () => Error
}

test("Node's own use of SIGSEGV survives", () => {
  within(startEnclave({ code: [0x0f, 0x0b] }), (native) => {
    assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
  })
  // (memory 1) (func (export "f") (param i32) (result i32) local.get 0, i32.load)
  const wasm = Buffer.from(
    "0061736d0100000001060160017f017f030201000503010001070501016600000a0901070020002802000b",
    "hex",
  )
  // Not among the types of a program without a DOM.
  const { Instance, Module, RuntimeError } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly
  const { f } = new Instance(new Module(wasm)).exports
  assert.equal(f(0), 0)
  assert.throws(() => f(0x7fff_0000), RuntimeError)
})

/** Runs a module's text in a process of its own. */
function spawn(script: string) {
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
  })
}

test("a signal sent from outside keeps its effect", () => {
  const { signal } = spawn(`
    const { startEnclave } = await import("../testing/native.ts")
    startEnclave()
    process.kill(process.pid, "SIGSEGV")
    setTimeout(() => {}, 5000)`)
  assert.equal(signal, "SIGSEGV")
})

// ---- memory and time ----

test("the enclave's data is where `memory` says, out of reach of /proc/self/mem when it is secret", () => {
  within(startEnclave(), (native) => {
    const { base } = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest() })
    const fd = openSync("/proc/self/mem", "r")
    const readable = (offset: number) => {
      try {
        return readSync(fd, Buffer.alloc(16), 0, 16, Number(base) + offset) === 16
      } catch {
        return false
      }
    }
    const maps = readFileSync("/proc/self/maps", "latin1").split("\n")
    const mappedAt = (offset: number) =>
      maps.find((line) => {
        const [from, to] = line
          .split(" ")[0]!
          .split("-")
          .map((text) => Number.parseInt(text, 16))
        return from! <= Number(base) + offset && Number(base) + offset < to!
      })!
    try {
      assert.equal(base % BigInt(SIZE), 0n)
      assert.equal(readable(0), true, "code is public")
      assert.match(mappedAt(0), / r-xp /)
      for (const [offset, kind] of [
        [WINDOW, native.memory.keys],
        [0x2000, native.memory.keys],
        [0x3000, native.memory.keys],
        [HEAP, native.memory.heap],
        [DYNAMIC, native.memory.heap],
      ] as const) {
        assert.equal(readable(offset), kind !== "memfd_secret", `0x${offset.toString(16)} is ${kind}`)
        assert.match(mappedAt(offset), kind === "memfd_secret" ? / rw-s .*secretmem/ : / rw-p /)
      }
      assert.match(mappedAt(0x4000), / ---p /, "nobody touches a TCS")
      assert.match(mappedAt(0x7000), / ---p /, "a hole")
    } finally {
      closeSync(fd)
    }
  })
})

test("an entry costs the cycles asked for", () => {
  // A TSC runs at 1 to 6 GHz.
  const cycles = 60_000_000
  const time = (transitionCycles: number) =>
    within(startEnclave({}, { transitionCycles }), (native) => {
      const started = performance.now()
      getKey(native)
      return performance.now() - started
    })
  const [slow, fast] = [time(cycles), time(0)]
  assert.ok(slow >= cycles / 6e6 && fast < slow, `${slow} ms with, ${fast} ms without`)
})

test("a request that is no request is refused before it is entered with", () => {
  within(startEnclave(), (native) => {
    const request = callRequest({ leaf: 0 })
    const wrong = [
      new Uint8Array(15),
      new Uint8Array(request.buffer, 4, 1024),
      request.subarray(0, request.length - 8),
      new Uint16Array(request.buffer) as unknown as Uint8Array,
      undefined as unknown as Uint8Array,
    ]
    for (const bytes of wrong) {
      assert.throws(() => native.enter(bytes), withCode("ERR_INVALID_ARG_TYPE"))
      assert.throws(() => native.enterAsync(bytes), withCode("ERR_INVALID_ARG_TYPE"))
    }
    assert.throws(() => native.enter.call({} as NativeEnclave, request), withCode("ERR_INVALID_ARG_TYPE"))
    assert.equal(native.alive, true)
  })
})

test("addressOf is where a view begins", () => {
  const bytes = new Uint8Array(64)
  assert.equal(addressOf(bytes.subarray(24)) - addressOf(bytes), 24n)
})

// ---- system ----

test("flock excludes, shares and does not wait when told so", () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-native-"))
  const open = () => openSync(join(folder, "lock"), "a")
  const [a, b] = [open(), open()]
  try {
    assert.equal(flock(a, "exclusive"), true)
    assert.equal(flock(b, "shared", { wait: false }), false)
    assert.equal(flock(a, "shared"), true)
    assert.equal(flock(b, "shared", { wait: false }), true)
    assert.equal(flock(b, "exclusive", { wait: false }), false)
  } finally {
    closeSync(a)
    closeSync(b)
    rmSync(folder, { recursive: true })
  }
  assert.throws(() => flock(-1, "exclusive"), withCode("EBADF"))
})

test("a hardened process leaves no core", () => {
  const { stdout, stderr } = spawn(`
    import { readFileSync } from "node:fs"
    const { hardenProcess } = await import("../native/addon.ts")
    hardenProcess("test")
    process.stdout.write(readFileSync("/proc/self/limits", "utf8"))`)
  assert.match(stdout, /^Max core file size +0 +0 /m, stderr)
})

test("notifySystemd says nothing without a socket to say it to", () => {
  const before = process.env["NOTIFY_SOCKET"]
  try {
    delete process.env["NOTIFY_SOCKET"]
    assert.equal(notifySystemd("READY=1"), false)
    process.env["NOTIFY_SOCKET"] = "/nonexistent/notify"
    assert.equal(notifySystemd("READY=1"), false)
  } finally {
    if (before === undefined) delete process.env["NOTIFY_SOCKET"]
    else process.env["NOTIFY_SOCKET"] = before
  }
})

test("peerCredentials names this process on its own socket, and refuses what is no socket", async () => {
  const path = `\0tresor-native-${process.pid}`
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  const socket = connect(path)
  try {
    await new Promise((resolve) => socket.once("connect", resolve))
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    const { pid, uid, gid } = peerCredentials(fd)
    assert.deepEqual([pid, uid, gid], [process.pid, process.getuid!(), process.getgid!()])
  } finally {
    socket.destroy()
    server.close()
  }
  assert.throws(() => peerCredentials(-1), withCode("EBADF"))
})

test("a passphrase needs sensible limits", async () => {
  await assert.rejects(readPassphrase("", 0, 0), { code: "PASSPHRASE_ERR_INVALID_ARG_TYPE" })
})
