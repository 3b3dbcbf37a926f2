import assert from "node:assert/strict"
import { generateKeyPairSync } from "node:crypto"
import { test } from "node:test"
import { openHpke } from "../testing/hpke.ts"
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
