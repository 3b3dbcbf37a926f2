import assert from "node:assert/strict"
import {
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from "node:crypto"
import { test } from "node:test"
import { sealRequest } from "./seal-request.ts"
import type { RequestContext } from "./types.ts"

const context: RequestContext = {
  purpose: "enrol",
  uuid: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
  slot: null,
  freshSlot: 3,
  unsealed: true,
  request: new Uint8Array(32).fill(7),
  nonce: new Uint8Array(32).fill(9),
}

/** RFC 9180 base mode by node:crypto alone; throws when the tag does not hold. */
function openHpke(secretKey: Buffer, publicKey: Buffer, message: Uint8Array, aad: Uint8Array): Buffer {
  const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
  const extract = (salt: Buffer, suite: Buffer, label: string, ikm: Buffer) =>
    createHmac("sha256", salt)
      .update(Buffer.concat([Buffer.from("HPKE-v1"), suite, Buffer.from(label), ikm]))
      .digest()
  const expand = (prk: Buffer, suite: Buffer, label: string, info: Buffer, length: number) => {
    const labeled = Buffer.concat([
      u16(length),
      Buffer.from("HPKE-v1"),
      suite,
      Buffer.from(label),
      info,
      Buffer.from([1]),
    ])
    return createHmac("sha256", prk).update(labeled).digest().subarray(0, length)
  }
  const der = (prefix: string, key: Uint8Array) => Buffer.concat([Buffer.from(prefix, "hex"), key])
  const enc = Buffer.from(message.subarray(0, 32))
  const dh = diffieHellman({
    privateKey: createPrivateKey({
      key: der("302e020100300506032b656e04220420", secretKey),
      format: "der",
      type: "pkcs8",
    }),
    publicKey: createPublicKey({ key: der("302a300506032b656e032100", enc), format: "der", type: "spki" }),
  })
  const kem = Buffer.concat([Buffer.from("KEM"), u16(0x20)])
  const eae = extract(Buffer.alloc(0), kem, "eae_prk", dh)
  const shared = expand(eae, kem, "shared_secret", Buffer.concat([enc, publicKey]), 32)
  const hpke = Buffer.concat([Buffer.from("HPKE"), u16(0x20), u16(1), u16(2)])
  const schedule = Buffer.concat([
    Buffer.from([0]),
    extract(Buffer.alloc(0), hpke, "psk_id_hash", Buffer.alloc(0)),
    extract(Buffer.alloc(0), hpke, "info_hash", Buffer.from("tresor sealed request v2")),
  ])
  const secret = extract(shared, hpke, "secret", Buffer.alloc(0))
  const decipher = createDecipheriv(
    "aes-256-gcm",
    expand(secret, hpke, "key", schedule, 32),
    expand(secret, hpke, "base_nonce", schedule, 12),
  )
  decipher.setAAD(aad)
  decipher.setAuthTag(message.subarray(-16))
  return Buffer.concat([decipher.update(message.subarray(32, -16)), decipher.final()])
}

function recipient() {
  const pair = generateKeyPairSync("x25519")
  const part = (value: string | undefined) => Buffer.from(value!, "base64url")
  const { d, x } = pair.privateKey.export({ format: "jwk" })
  return { secretKey: part(d), publicKey: part(x) }
}

/** struct tresor_context, written by hand from abi/enclave.h. */
function contextBytes(): Buffer {
  const bytes = Buffer.alloc(128)
  bytes.writeUInt32LE(2, 0)
  bytes.writeUInt32LE(3, 4)
  bytes.write(context.uuid, 8)
  bytes.writeUInt32LE(0xffffffff, 48)
  bytes.writeUInt32LE(3, 52)
  bytes.writeUInt32LE(1, 56)
  bytes.set(context.nonce, 64)
  bytes.set(context.request, 96)
  return bytes
}

test("a sealed request opens with RFC 9180 as node:crypto computes it, under its context only", async () => {
  const { secretKey, publicKey } = recipient()
  const existing = Buffer.from("old \0 passphrase\xff", "latin1")
  const fresh = Buffer.from("new")
  const sealed = await sealRequest(publicKey, context, { existing, fresh })
  assert.equal(sealed.bytes.length, 56 + existing.length + fresh.length)
  const opened = openHpke(secretKey, publicKey, sealed.bytes, contextBytes())
  const sizes = Buffer.alloc(8)
  sizes.writeUInt32LE(existing.length, 0)
  sizes.writeUInt32LE(fresh.length, 4)
  assert.deepEqual(opened, Buffer.concat([sizes, existing, fresh]))
  for (const at of [0, 4, 8, 48, 52, 56, 60, 64, 95, 96, 127]) {
    const other = contextBytes()
    other[at]! ^= 1
    assert.throws(() => openHpke(secretKey, publicKey, sealed.bytes, other), `context byte ${at} is not bound`)
  }
})

test("no two sealings of the same secret are alike", async () => {
  const { publicKey } = recipient()
  const [one, two] = await Promise.all(
    [1, 2].map(() => sealRequest(publicKey, context, { existing: Buffer.from("secret") })),
  )
  assert.notDeepEqual(one!.bytes, two!.bytes)
})

test("what cannot be a request is refused", async () => {
  const { publicKey } = recipient()
  await assert.rejects(sealRequest(publicKey, context, { existing: new Uint8Array((8 << 20) + 1) }), RangeError)
  await assert.rejects(sealRequest(publicKey, { ...context, uuid: "x".repeat(40) }, {}), RangeError)
  await assert.rejects(sealRequest(publicKey.subarray(1), context, {}))
})
