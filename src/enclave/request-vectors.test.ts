/** vectors/sealed-requests.json and sealed-salt.json, as a client reads them; the enclave's side is test/enclave/vectors.test.ts. */
import assert from "node:assert/strict"
import { createDecipheriv, createHash, createPrivateKey, createPublicKey, hkdfSync } from "node:crypto"
import { test } from "node:test"
import { context as contextStruct, Status, sealedSalt } from "../abi/enclave.ts"
import { encode } from "../abi/struct.ts"
import { sealerOf } from "../luks2/tresor-token.ts"
import { openHpke } from "../testing/hpke.ts"
import { type RequestVector, requests, seal } from "../testing/vectors.ts"
import { type Asked, bindingOf } from "./asked.ts"
import { contextFields, sealRequest } from "./seal-request.ts"

const bytes = (hex: string) => Buffer.from(hex, "hex")
const hex = (of: Uint8Array) => Buffer.from(of).toString("hex")
const sha256 = (...parts: readonly Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest("hex")

const NUMBERS = new Set(["offset", "size", "ivTweak", "areaOffset", "areaSize"])

/** JSON has neither bytes nor 64-bit numbers. */
function asked(vector: RequestVector): Asked {
  return JSON.parse(JSON.stringify(vector.asked), (name, value) =>
    typeof value !== "string"
      ? value
      : NUMBERS.has(name)
        ? BigInt(value)
        : name === "salt" || name === "digest"
          ? new Uint8Array(bytes(value))
          : value,
  )
}

function plaintext({ existing, fresh }: RequestVector): Buffer {
  const sizes = Buffer.alloc(8)
  sizes.writeUInt32LE(existing.length / 2, 0)
  sizes.writeUInt32LE(fresh.length / 2, 4)
  return Buffer.concat([sizes, bytes(existing), bytes(fresh)])
}

for (const vector of requests.requests) {
  test(`a sealed request, ${vector.name}`, async () => {
    assert.equal(sha256(...vector.digestInput.map((part) => bytes(part.bytes))), vector.digest)
    const binding = await bindingOf(asked(vector))
    const { request, slot, freshSlot, unsealed } = binding
    assert.deepEqual(
      [hex(request), slot, freshSlot, unsealed],
      [vector.digest, vector.slot, vector.freshSlot, vector.unsealed],
    )
    const context = { ...binding, nonce: new Uint8Array(bytes(vector.nonce)) }
    const aad = new Uint8Array(contextStruct.size)
    encode(contextStruct, contextFields(context), aad)
    assert.equal(hex(aad), vector.context)

    const [secretKey, publicKey] = [bytes(requests.secretKey), bytes(requests.publicKey)]
    const open = (message: Uint8Array) => openHpke(secretKey, publicKey, message, bytes(vector.context), requests.info)
    assert.deepEqual(open(bytes(vector.message)), plaintext(vector))
    // Ours has another ephemeral key, and opens the same way.
    const secrets = { existing: bytes(vector.existing), fresh: bytes(vector.fresh) }
    const ours = await sealRequest(new Uint8Array(publicKey), context, secrets)
    assert.notEqual(hex(ours.bytes), vector.message)
    assert.deepEqual(open(ours.bytes), plaintext(vector))
  })
}

test("the public key is the secret key's", () => {
  const der = Buffer.concat([bytes("302e020100300506032b656e04220420"), bytes(requests.secretKey)])
  const spki = createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" })).export({
    format: "der",
    type: "spki",
  })
  assert.equal(hex(spki.subarray(-32)), requests.publicKey)
})

test("there are requests of every purpose", () =>
  assert.deepEqual(
    [...new Set(requests.requests.map(({ asked }) => asked.purpose))],
    ["create", "unlock", "authenticate", "enrol", "legacy"],
  ))

test("a sealed salt: fields, checksum, associated data, key and ciphertext, by node:crypto", () => {
  const sealed = bytes(seal.sealed)
  assert.equal(sealed.length, sealedSalt.size)
  let end = 0
  for (const [name, field] of Object.entries(seal.fields)) {
    assert.equal(field.offset, end, name)
    assert.equal(field.offset, sealedSalt.offsets[name as keyof typeof sealedSalt.offsets], name)
    end += field.size
    assert.equal(hex(sealed.subarray(field.offset, end)), field.bytes, name)
  }
  assert.equal(end, 768)
  const part = (from: string, to: string) => sealed.subarray(seal.fields[from]!.offset, seal.fields[to]!.offset)
  assert.equal(sha256(part("magic", "checksum"), sealed.subarray(48)), seal.fields["checksum"]!.bytes)
  const aad = Buffer.concat([part("magic", "checksum"), part("key_request", "iv"), part("reserved", "ciphertext")])
  assert.equal(hex(aad), seal.associatedData)
  assert.equal(hex(new Uint8Array(hkdfSync("sha256", bytes(seal.egetkey), "", seal.label, 32))), seal.key)
  const decipher = createDecipheriv("aes-256-gcm", bytes(seal.key), bytes(seal.fields["iv"]!.bytes))
  decipher.setAAD(aad)
  decipher.setAuthTag(bytes(seal.fields["tag"]!.bytes))
  const salt = Buffer.concat([decipher.update(bytes(seal.fields["ciphertext"]!.bytes)), decipher.final()])
  assert.equal(hex(salt), seal.salt)
})

test("a sealed salt says in clear who sealed it, for what", () => {
  const { mrenclave, mrsigner, isvProdId, isvSvn } = seal.self
  const expected = { mrenclave, mrsigner, isvProdId, isvSvn, policy: "mrsigner", slot: seal.slot, uuid: seal.uuid }
  assert.deepEqual(sealerOf(bytes(seal.sealed)), expected)
})

test("the statuses of refused seals have the numbers of abi/enclave.h", () => {
  for (const { status, code } of seal.refused) assert.equal(Status[status], code)
})
