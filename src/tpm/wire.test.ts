import assert from "node:assert/strict"
import { test } from "node:test"
import { fromHex, toHex } from "../base/hex.ts"
import { pinAuth, policyDigest } from "./policy.ts"
import { pcrSelection, pcrValues, properties, sealedTemplate, sensitive, sized, unsized } from "./wire.ts"

const hex = (text: string) => fromHex(text)!

test("a PCR selection is one bank of 24 bits, the first PCR in the lowest bit", () => {
  assert.equal(toHex(pcrSelection([0, 7, 23])), "00000001000b03810080")
})

test("PCR values are read with their numbers, and other banks are left out", () => {
  const sha1AndSha256 = hex("00000002000403ffffff000b03800001")
  const values = pcrValues(sha1AndSha256, hex("000000020002aaaa0002bbbb"))
  assert.deepEqual(
    [...values].map(([pcr, value]) => [pcr, toHex(value)]),
    [
      [7, "aaaa"],
      [16, "bbbb"],
    ],
  )
  // A TPM gives eight at a time: the rest has no value yet.
  assert.equal(pcrValues(pcrSelection([1, 2]), hex("000000010002aaaa")).size, 1)
  assert.throws(() => pcrValues(pcrSelection([1]), hex("00000001ffff00")), RangeError)
})

test("properties are read by number", () => {
  assert.deepEqual(
    [...properties(hex("00000006000000020000020000000200000002100000000a"))],
    [
      [0x200, 0x200],
      [0x210, 10],
    ],
  )
})

test("what is sealed counts wrong attempts only where there is an authValue to guess", () => {
  const attributes = (counted: boolean) => toHex(sealedTemplate(new Uint8Array(32), counted)).slice(12, 20)
  assert.deepEqual([attributes(true), attributes(false)], ["00000012", "00000412"])
})

test("sized buffers come back, and a sensitive area has authValue and data in this order", () => {
  assert.equal(toHex(sensitive(hex("aabb"), hex("cc"))), "00070002aabb0001cc")
  assert.equal(toHex(unsized(sized(hex("010203")))), "010203")
  assert.throws(() => unsized(hex("0004010203")), RangeError)
})

test("policy digests are those of tpm2_policypcr and tpm2_policyauthvalue", () => {
  const zero = new Map([[7, new Uint8Array(32)]])
  // tpm2_startauthsession; tpm2_policypcr -l sha256:7 (PCR 7 zero); tpm2_policyauthvalue
  assert.equal(toHex(policyDigest(zero, false)), "8b5682d81b29435d08d79278150611dc7e5923b2fefcce684a09577b40130a8b")
  assert.equal(toHex(policyDigest(new Map(), true)), "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e")
  assert.equal(toHex(policyDigest(new Map(), false)), "00".repeat(32))
})

test("a PIN's authValue never ends in a zero byte, which a TPM would cut off", () => {
  let cut = 0
  for (let n = 0; n < 2000 && cut === 0; n++) {
    const auth = pinAuth(Uint8Array.of(n & 255, n >> 8), { salt: new Uint8Array(32), iterations: 1 })
    assert.notEqual(auth.at(-1), 0)
    if (auth.length < 32) cut++
  }
  assert.equal(cut, 1, "there was none to cut")
})
