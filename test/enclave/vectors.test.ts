/** vectors/sealed-requests.json and sealed-salt.json, as the enclave's sources judge them, built for the host. */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { before, test } from "node:test"
import { keyslot, segment } from "../../src/abi/enclave.ts"
import { requests, seal } from "../../src/testing/vectors.ts"
import { root, run } from "../cli/harness.ts"

const folder = join(root, "enclave/test")

before(async () => {
  const { code, stderr } = await run("make", ["-s", "-C", folder, "build/vectors"])
  assert.equal(code, 0, stderr)
})

/** enclave/test/vectors.c has the words. */
async function ask(...words: readonly (string | number)[]): Promise<string> {
  const { code, stdout, stderr } = await run(join(folder, "build/vectors"), [], { input: `${words.join(" ")}\n` })
  assert.equal(code, 0, stderr)
  return stdout.trim()
}

const hex = (text: string) => Buffer.from(text).toString("hex")
/** With another byte there. */
function changed(of: string, at: number): string {
  const bytes = Buffer.from(of, "hex")
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  return bytes.toString("hex")
}
const u32 = (bytes: string, at: number) => Buffer.from(bytes, "hex").readUInt32LE(4 * at)

for (const { name, asked, digestInput, digest, context, existing, fresh, message } of requests.requests) {
  test(`the enclave knows the request by its digest: ${name}`, async () => {
    const [, words, first, ...rest] = digestInput.map(({ bytes }) => bytes)
    if (asked.purpose === "legacy") {
      assert.equal(await ask("legacy", u32(words!, 0), u32(words!, 1), first!), digest)
      return
    }
    const [purpose, policy, macs, count] = [0, 1, 2, 3].map((at) => u32(words!, at))
    const [headerDigest, ...keyslots] = rest
    const written = keyslots.pop()!
    assert.equal(count, keyslots.length)
    const ofSlots = (first: string, keyslots: readonly string[], fresh: string) =>
      ask("digest", purpose!, policy!, macs!, first, headerDigest!, fresh, count!, ...keyslots)
    const none = /^0*$/.test(written)
    assert.equal(await ofSlots(first!, keyslots, none ? "-" : written), digest)
    // Host addresses, and a salt that is yet to be made, are no part of it.
    const placed = keyslots.map((each) => changed(changed(each, keyslot.offsets.area), keyslot.offsets.sealed))
    const elsewhere = none ? "-" : changed(changed(written, keyslot.offsets.area), keyslot.offsets.salt)
    assert.equal(await ofSlots(first!, placed, elsewhere), digest)
    // All else is.
    assert.notEqual(await ofSlots(changed(first!, segment.offsets.offset), keyslots, none ? "-" : written), digest)
    for (const at of [keyslot.offsets.flags, keyslot.offsets.area_offset, keyslot.offsets.salt]) {
      for (const [index, each] of keyslots.entries()) {
        const others = keyslots.with(index, changed(each, at))
        assert.notEqual(await ofSlots(first!, others, none ? "-" : written), digest)
      }
    }
    if (!none) assert.notEqual(await ofSlots(first!, keyslots, changed(written, keyslot.offsets.pass_kdf)), digest)
  })

  test(`the enclave opens the message under its context only: ${name}`, async () => {
    const sizes = Buffer.alloc(8)
    sizes.writeUInt32LE(existing.length / 2, 0)
    sizes.writeUInt32LE(fresh.length / 2, 4)
    const open = (aad: string, bytes: string) =>
      ask("hpke", requests.secretKey, requests.publicKey, hex(requests.info), aad, bytes)
    assert.equal(await open(context, message), sizes.toString("hex") + existing + fresh)
    const flip = (text: string) => text.slice(0, -2) + (text.endsWith("00") ? "01" : "00")
    assert.equal(await open(flip(context), message), "refused")
    assert.equal(await open(context, flip(message)), "refused")
  })
}

const opened = (sealed: Uint8Array) => {
  const { mrenclave, mrsigner, cpuSvn, attributes, isvProdId, isvSvn } = seal.self
  const self = [mrenclave, mrsigner, cpuSvn, attributes, isvProdId, isvSvn]
  const bytes = Buffer.from(sealed).toString("hex")
  return ask("seal", seal.egetkey, ...self, hex(seal.uuid), seal.slot, seal.kdfStruct, bytes)
}

test("the enclave opens the sealed salt", async () =>
  assert.equal(await opened(Buffer.from(seal.sealed, "hex")), `0 ${seal.salt}`))

for (const { oddity, bytes, checksum, status, code } of seal.refused) {
  test(`the enclave refuses a sealed salt, ${status}: ${oddity}`, async () => {
    const sealed = Buffer.from(seal.sealed, "hex")
    for (const [at, hex] of Object.entries(bytes)) sealed.set(Buffer.from(hex, "hex"), Number(at))
    assert.notEqual(sealed.toString("hex"), seal.sealed)
    const rest = Buffer.concat([sealed.subarray(0, 16), sealed.subarray(48)])
    if (checksum) sealed.set(createHash("sha256").update(rest).digest(), 16)
    assert.equal(await opened(sealed), String(code))
  })
}
