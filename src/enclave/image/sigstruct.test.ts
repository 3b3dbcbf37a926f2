import assert from "node:assert/strict"
import { constants, createHash, createPublicKey, type KeyObject, publicDecrypt, verify as rsaVerify } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { toHex } from "../../base/hex.ts"
import { info, measure, sign, verify } from "../../cli/enclave-image.ts"
import { buildElf, CONF_TEXT, sampleParts } from "../../testing/image.ts"
import { testKey } from "../../testing/rsa-keys.ts"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import { keptImages } from "../kept-images.ts"
import { checkPinned, parsePins, signBuild } from "./build.ts"
import { parseConf } from "./conf.ts"
import { retireKeys } from "./former-keys.ts"
import { loadModulus, loadSigner, modulusOf, newSha256, signBytes } from "./keys.ts"
import { measureSgxs } from "./sgxs.ts"
import {
  attach,
  checkSigstruct,
  parseSigstruct,
  prepare,
  quotients,
  type Secs,
  SIGSTRUCT_SIZE,
  signedBytes,
} from "./sigstruct.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-image-"))
after(() => rmSync(folder, { recursive: true }))

const conf = parseConf(CONF_TEXT)
const mrenclave = Uint8Array.from({ length: 32 }, (_, i) => i)
const keyFile = join(folder, "signer.pem")
const writeKey = (path: string, signer: KeyObject) =>
  writeFileSync(path, signer.export({ type: "pkcs8", format: "pem" }))
writeKey(keyFile, testKey())
const key = loadSigner(keyFile)
const unsigned = prepare({ mrenclave, conf, date: "20261123", debug: false })
const good = attach(unsigned, modulusOf(key), signBytes(key, signedBytes(unsigned)), newSha256)
const secs: Secs = { mrenclave, attributes: 4n, xfrm: 0xe7n, miscSelect: 0 }

const firstFailure = (bytes: Uint8Array, against: Secs | null = secs) =>
  checkSigstruct(bytes, newSha256, against).find((check) => !check.passed)

const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))

/** `change` made before signing: it reaches the checks behind the signature. */
function resigned(change: (bytes: Uint8Array, view: DataView) => void): Uint8Array {
  const bytes = unsigned.slice()
  change(bytes, new DataView(bytes.buffer))
  bytes.set(modulusOf(key).toReversed(), 128)
  bytes.set(signBytes(key, signedBytes(bytes)).toReversed(), 516)
  const number = (from: number) => BigInt(`0x${toHex(bytes.slice(from, from + 384).reverse())}`)
  const { q1, q2 } = quotients(number(516), number(128))
  for (const [at, q] of [
    [1040, q1],
    [1424, q2],
  ] as const) {
    bytes.set(Buffer.from(q.toString(16).padStart(768, "0"), "hex").reverse(), at)
  }
  return bytes
}

test("SIGSTRUCTs of Fortanix and Intel are valid and read as they were signed", onPublishedData, () => {
  const ours = readFileSync(join(SGX_DATA, "sigstruct/fortanix_sig1.sigstruct.bin"))
  const intel = readFileSync(join(SGX_DATA, "sigstruct/intel_le_prod.sigstruct.bin"))
  for (const bytes of [ours, intel]) assert.equal(firstFailure(bytes, null), undefined)
  const fields = parseSigstruct(intel, newSha256)
  assert.deepEqual([fields.vendor, fields.swDefined, fields.date, fields.debug], [0x8086, 0x10, "20240811", false])
  // RSA by OpenSSL, not by us.
  const n = Buffer.from(intel.subarray(128, 512)).reverse().toString("base64url")
  const publicKey = createPublicKey({ key: { kty: "RSA", n, e: "Aw" }, format: "jwk" })
  const signature = Buffer.from(intel.subarray(516, 900)).reverse()
  assert.equal(rsaVerify("sha256", signedBytes(intel), publicKey, signature), true)
})

test("Q1 and Q2 of Fortanix's RSA vector", onPublishedData, () => {
  const number = (name: string) =>
    BigInt(
      `0x${readFileSync(join(SGX_DATA, `sigstruct/fortanix_rsa_sig1.${name}.bin`))
        .reverse()
        .toString("hex")}`,
    )
  const { q1, q2 } = quotients(number("sig"), number("key_n"))
  assert.equal(q1, number("q1"))
  assert.equal(q2, number("q2"))
})

test("MRENCLAVE of Fortanix's stream", onPublishedData, () => {
  const bytes = readFileSync(join(SGX_DATA, "sgxs/fortanix_report.sgxs"))
  const measurement = measureSgxs(bytes, newSha256)
  assert.equal(toHex(measurement.mrenclave), createHash("sha256").update(bytes).digest("hex"))
  assert.deepEqual([measurement.size, measurement.pages, measurement.threads, measurement.heap], [0x4000, 3, 1, 0])
  // An UNMEASRD record is loaded, not measured.
  const open = Uint8Array.from(bytes)
  open.set(new TextEncoder().encode("UNMEASRD"), 128)
  const expected = Buffer.concat([bytes.subarray(0, 128), bytes.subarray(128 + 320)])
  assert.equal(toHex(measureSgxs(open, newSha256).mrenclave), createHash("sha256").update(expected).digest("hex"))
})

test("an SGXS stream that ECREATE, EADD or EEXTEND would refuse names the byte", onPublishedData, () => {
  const bytes = readFileSync(join(SGX_DATA, "sgxs/fortanix_report.sgxs"))
  const set = (at: number, value: number) => bytes.map((byte, i) => (i === at ? value : byte))
  const bad: readonly (readonly [Uint8Array, RegExp])[] = [
    [bytes.subarray(0, bytes.length - 1), /truncated/],
    [bytes.subarray(0, 40), /truncated/],
    [set(0, 0x46), /no ECREATE/],
    [set(8, 0), /SSAFRAMESIZE 0/],
    [set(12, 1), /power of two/],
    [set(20, 1), /reserved/],
    [set(64, 0x46), /unknown record/],
    [set(72, 1), /not page aligned/],
    [set(73, 0x40), /beyond the enclave's size/],
    [set(81, 7), /page type 7/],
    [set(80, bytes[81] === 1 ? 3 : 2), /permissions|cannot be read/],
    [set(83, 1), /reserved SECINFO/],
    [set(127, 1), /reserved/],
    [set(136, 1), /not aligned to 256/],
    [set(138, 1), /not added/],
    [Buffer.concat([bytes.subarray(0, 128), bytes.subarray(64, 128)]), /second EADD/],
    [Buffer.concat([bytes.subarray(0, 448), bytes.subarray(128, 448)]), /twice/],
    [Buffer.concat([Buffer.from("UNSIZED\0"), bytes.subarray(8)]), /UNSIZED/],
  ]
  for (const [stream, fact] of bad) {
    assert.throws(() => measureSgxs(stream, newSha256), { code: "IMAGE_BAD_SGXS", message: fact }, String(fact))
  }
})

test("what we sign OpenSSL verifies, and it says what enclave.conf says", () => {
  const signature = good.subarray(516, 900).toReversed()
  const block = publicDecrypt({ key: createPublicKey(key), padding: constants.RSA_PKCS1_PADDING }, signature)
  assert.equal(block.subarray(-32).toString("hex"), createHash("sha256").update(signedBytes(good)).digest("hex"))
  assert.equal(rsaVerify("sha256", signedBytes(good), createPublicKey(key), signature), true)
  assert.equal(firstFailure(good), undefined)
  assert.deepEqual(parseSigstruct(good, newSha256), {
    vendor: 0,
    date: "20261123",
    swDefined: 0,
    miscSelect: 0,
    miscMask: 0xffffffff,
    attributes: 4n,
    attributeMask: 0xffff_ffff_ffff_ffffn,
    xfrm: 3n,
    xfrmMask: 0xffff_ffff_ffff_ff1bn,
    mrenclave: toHex(mrenclave),
    mrsigner: createHash("sha256").update(good.subarray(128, 512)).digest("hex"),
    isvProdId: 7,
    isvSvn: 2,
    debug: false,
  })
  assert.equal(parseSigstruct(prepare({ mrenclave, conf, date: "20261123", debug: true }), newSha256).debug, true)
  for (const date of ["20260230", "2026112", "20261301", "abcdefgh"]) {
    assert.throws(() => prepare({ mrenclave, conf, date, debug: false }), { code: "IMAGE_BAD_SIGSTRUCT" })
  }
})

test("one flipped byte in each field fails the check that EINIT would fail", () => {
  const expected: readonly (readonly [number, number, string])[] = [
    [0, 16, "header"],
    [16, 20, "vendor"],
    [20, 24, "signature"],
    [24, 40, "header2"],
    [40, 44, "signature"],
    [44, 128, "reserved"],
    [512, 516, "exponent"],
    [516, 900, "signature"],
    [900, 908, "signature"],
    [908, 912, "reserved"],
    [912, 992, "signature"],
    [992, 1008, "reserved"],
    [1008, 1028, "signature"],
    [1028, 1040, "reserved"],
    [1040, 1424, "q1"],
    [1424, 1808, "q2"],
  ]
  for (const [from, to, name] of expected) {
    for (const at of new Set([from, from + 1, (from + to) >> 1, to - 1])) {
      assert.equal(firstFailure(flip(good, at))?.name, name, `byte ${at}`)
    }
  }
  assert.equal(firstFailure(flip(good, 300))?.name, "signature")
  assert.equal(firstFailure(good.map((byte, i) => (i === 511 ? 0 : byte)))?.name, "modulus")
})

test("a valid signature does not excuse what EINIT compares", () => {
  const fails = (name: string, error: number, bytes: Uint8Array, against: Secs | null = secs) => {
    const failure = firstFailure(bytes, against)
    assert.deepEqual([failure?.name, failure?.error], [name, error])
    assert.match(failure!.fact, /./)
  }
  fails(
    "header",
    1,
    resigned((b) => b.fill(1, 0, 1)),
  )
  fails(
    "vendor",
    1,
    resigned((_, v) => v.setUint32(16, 0x8087, true)),
  )
  fails(
    "reserved",
    1,
    resigned((b) => b.fill(1, 127, 128)),
  )
  fails(
    "kss",
    1,
    resigned((b) => b.fill(1, 912, 913)),
  )
  fails(
    "kss",
    1,
    resigned((b) => b.fill(1, 1008, 1009)),
  )
  fails("hash", 4, good, { ...secs, mrenclave: new Uint8Array(32) })
  fails("controlled", 2, good, { ...secs, attributes: 0x24n })
  fails("attributes", 2, good, { ...secs, attributes: 6n })
  fails("attributes", 2, good, { ...secs, attributes: 0x404n })
  fails("xfrm", 2, good, { ...secs, xfrm: 0x2e7n })
  fails("miscselect", 2, good, { ...secs, miscSelect: 1 })
  assert.equal(firstFailure(good, { ...secs, xfrm: 3n }), undefined, "XFRM is open where enclave.conf leaves it open")
  // Why the mask must be all ones: with Fortanix's mask the host chooses DEBUG.
  const open = resigned((_, v) => v.setBigUint64(944, ~2n, true))
  assert.equal(firstFailure(open, { ...secs, attributes: 6n }), undefined)
})

test("attach refuses a signature that is not this key's over these bytes", () => {
  const signature = signBytes(key, signedBytes(unsigned))
  const other = testKey(1)
  const attempt = (modulus: Uint8Array, bytes: Uint8Array) => () => attach(unsigned, modulus, bytes, newSha256)
  assert.throws(attempt(modulusOf(key), flip(signature, 383)), /SIGNATURE is not the key's/)
  assert.throws(attempt(modulusOf(other), signature), { code: "IMAGE_BAD_SIGSTRUCT" })
  assert.throws(attempt(modulusOf(key), signature.toReversed()), { code: "IMAGE_BAD_SIGSTRUCT" })
  assert.throws(attempt(modulusOf(key), signature.subarray(1)), /383 bytes/)
  assert.throws(attempt(modulusOf(key), new Uint8Array(384).fill(255)), /larger than/)
  assert.throws(attempt(new Uint8Array(256), signature), /2048 bits/)
})

test("only the right kind of signing key is taken", () => {
  const bad = join(folder, "bad.pem")
  for (const [bits, exponent] of [
    [2048, 3],
    [3072, 65537],
  ] as const) {
    writeKey(bad, testKey(0, { bits, exponent }))
    assert.throws(() => loadSigner(bad), { code: "IMAGE_BAD_KEY", message: /3072 bits and exponent 3/ })
  }
  writeFileSync(bad, "nonsense")
  assert.throws(() => loadSigner(bad), { code: "IMAGE_BAD_KEY" })
  assert.throws(() => loadModulus(join(folder, "none.pem")), { code: "IMAGE_BAD_KEY" })
})

function checkout(name: string): string {
  const root = join(folder, name)
  mkdirSync(join(root, "enclave/build"), { recursive: true })
  writeFileSync(join(root, "enclave/enclave.conf"), CONF_TEXT)
  writeFileSync(join(root, "enclave/build/tresor.elf"), buildElf(sampleParts()))
  return root
}

/** Runs `work` with a state directory of its own. */
function withState(name: string, work: (state: string) => void): void {
  const before = process.env["TRESOR_STATE_DIR"]
  const state = join(folder, name)
  process.env["TRESOR_STATE_DIR"] = state
  try {
    work(state)
  } finally {
    if (before === undefined) delete process.env["TRESOR_STATE_DIR"]
    else process.env["TRESOR_STATE_DIR"] = before
  }
}

const signerOf = (root: string) =>
  parseSigstruct(readFileSync(join(root, "enclave/build/tresor.sigstruct")), newSha256).mrsigner

test("two builds of the same sources: the same MRENCLAVE, another signer, whose key is nowhere", () => {
  withState("state", (state) => {
    const [first, second] = [checkout("clone-1"), checkout("clone-2")]
    assert.equal(signBuild(first).mrenclave, signBuild(second).mrenclave)
    assert.notEqual(signerOf(first), signerOf(second))
    assert.equal(existsSync(state), false)
    const files = readdirSync(first, { recursive: true, withFileTypes: true }).filter((each) => each.isFile())
    for (const { parentPath, name } of files) {
      assert.doesNotMatch(readFileSync(join(parentPath, name), "latin1"), /PRIVATE KEY/, name)
    }
  })
})

test("signing keys of earlier versions sign once more, for what they sealed, and are removed", () => {
  withState("former", (state) => {
    const root = checkout("former-checkout")
    const keys = [join(state, "signer.pem"), join(root, "enclave/signer.pem")]
    mkdirSync(state)
    for (const [number, path] of keys.entries()) writeKey(path, testKey(number))
    const signers = keys.map((path) => createHash("sha256").update(loadModulus(path).toReversed()).digest("hex"))
    const { mrenclave } = signBuild(root, undefined, () => loadSigner(keys[0]!))
    assert.equal(signerOf(root), signers[0])
    assert.deepEqual(retireKeys(root), keys)
    assert.deepEqual(
      keys.map((path) => existsSync(path)),
      [false, false],
    )
    const kept = keptImages([state])
    assert.ok(kept.every((each) => each.mrenclave === mrenclave))
    assert.deepEqual(new Set(kept.map((each) => each.mrsigner)), new Set(signers))
    // What such a key signed is signed again, by nobody's key.
    assert.equal(signBuild(root).signed, true)
    assert.ok(!signers.includes(signerOf(root)))
    assert.deepEqual(retireKeys(root), [])
    assert.equal(signBuild(root).signed, false)
  })
})

test("a key that cannot sign, or an image that cannot be kept, leaves the key", () => {
  withState("stuck", (state) => {
    const root = checkout("stuck-checkout")
    mkdirSync(state)
    const path = join(state, "signer.pem")
    writeFileSync(path, "no key")
    assert.throws(() => retireKeys(root), { code: "IMAGE_BAD_KEY" })
    assert.equal(readFileSync(path, "utf8"), "no key")
    writeKey(path, testKey())
    writeFileSync(join(state, "enclaves"), "no folder")
    assert.throws(() => retireKeys(root), { code: "ENOTDIR" })
    assert.match(readFileSync(path, "utf8"), /PRIVATE KEY/)
  })
})

test("the build signs what changed and leaves what did not", () => {
  const root = checkout("build")
  const path = join(root, "enclave/build/tresor.sigstruct")
  const build = () => signBuild(root, undefined, () => testKey(1))
  assert.equal(build().signed, true)
  assert.equal(build().signed, false)
  writeFileSync(path, flip(readFileSync(path), 1500))
  assert.equal(build().signed, true, "damage is repaired")
  writeFileSync(join(root, "enclave/enclave.conf"), CONF_TEXT.replace("isv_svn = 2", "isv_svn = 3"))
  assert.equal(build().signed, true)
  assert.equal(parseSigstruct(readFileSync(path), newSha256).isvSvn, 3)
  sign({ file: join(root, "enclave/build/tresor.elf"), key: keyFile })
  assert.equal(build().signed, false, "a release's signature stays")
  assert.equal(verify({ sigstruct: path, image: join(root, "enclave/build/tresor.elf") }).exitCode, 0)

  const pinned = (text: string) => {
    writeFileSync(join(root, "enclave/MRENCLAVE"), text)
    return checkPinned(root)
  }
  const { compiler, measured } = pinned("# none yet\n")
  assert.equal(pinned(`${compiler} ${measured}\nother 1.0 ${"0".repeat(64)}\n`).pinned, measured)
  assert.equal(pinned(`other 1.0 ${"0".repeat(64)}\n`).pinned, null)
  assert.throws(() => parsePins("gcc 12 abc"), { code: "IMAGE_BAD_PIN" })
})

test("sign, prepare, attach, verify, info and measure on files", () => {
  const root = checkout("files")
  const image = join(root, "enclave/build/tresor.elf")
  const out = join(root, "one.sigstruct")
  const mrenclaveText = measure({ file: image }).lines[0]!
  assert.match(mrenclaveText, /^[0-9a-f]{64}$/)
  assert.deepEqual(measure({ file: image }).json, {
    format: "elf",
    mrenclave: mrenclaveText,
    size: 0x10000,
    pages: 9,
    heap: 0x4000,
    dynamicHeap: 0x2000,
    threads: 1,
    ssaFrameSize: 1,
  })
  assert.equal(sign({ file: image, key: keyFile, out, date: "20261123" }).exitCode, 0)
  assert.equal(verify({ sigstruct: out }).exitCode, 0)
  assert.equal(verify({ sigstruct: out, image }).json["failed"], null)

  const prepared = join(root, "prepared")
  sign({ file: image, prepare: true, out: prepared, date: "20261123" })
  writeFileSync(join(root, "sig"), signBytes(key, readFileSync(prepared)))
  writeFileSync(join(root, "public.pem"), createPublicKey(key).export({ type: "spki", format: "pem" }))
  const two = join(root, "two.sigstruct")
  const words = { file: image, prepared, attach: join(root, "sig"), key: join(root, "public.pem"), out: two }
  sign(words)
  assert.deepEqual(readFileSync(two), readFileSync(out), "one step or two, the same bytes")
  assert.throws(() => sign({ ...words, date: "20261124" }), { code: "IMAGE_BAD_OPTIONS" })
  assert.throws(() => sign({ file: image }), /--key is missing/)

  sign({ file: image, key: keyFile, out, debug: true })
  assert.equal(verify({ sigstruct: out, image }).json["debug"], true)
  assert.equal(info({ file: out }).json["debug"], true)
  assert.equal((info({ file: image }).json["segments"] as unknown[]).length, 4)

  const parts = sampleParts()
  writeFileSync(image, buildElf({ segments: parts.segments.slice(0, 4) }))
  assert.equal(verify({ sigstruct: two, image }).exitCode, 0, "the dynamic heap is not measured")
  writeFileSync(image, buildElf({ segments: parts.segments.slice(0, 3) }))
  const refused = verify({ sigstruct: two, image })
  assert.deepEqual([refused.exitCode, refused.json["failed"]], [1, "hash"])
  assert.match(refused.lines[0]!, /hash check \(EINIT error 4\)/)
  writeFileSync(two, flip(readFileSync(two), 1040))
  assert.equal(verify({ sigstruct: two }).json["failed"], "q1")

  writeFileSync(image, "hello")
  assert.throws(() => measure({ file: image }), { code: "IMAGE_UNKNOWN", exitCode: 4 })
  assert.throws(() => measure({ file: join(root, "none") }), { code: "IMAGE_UNREADABLE", exitCode: 4 })
  writeFileSync(two, new Uint8Array(SIGSTRUCT_SIZE - 1))
  assert.throws(() => verify({ sigstruct: two }), { code: "IMAGE_BAD_SIGSTRUCT" })
  assert.equal(existsSync(join(root, "prepared")), true)
})
