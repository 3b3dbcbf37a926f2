import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import type { Hash, Header, Kdf, KeyslotParameters, PublicHeader, PublicKeyslot } from "../luks2/types.ts"
import { type Asked, admitted, bindingOf, headerDigest } from "./asked.ts"
import {
  decodeLegacyParameters,
  decodePublicHeader,
  encodeLegacyParameters,
  encodePublicHeader,
  publicHeader,
} from "./marshal.ts"

const UUID = "9c1f1ee9-6b5e-4a1e-a63c-cf6c2b4b2b35"
const hash = fc.constantFrom<Hash>("sha1", "sha224", "sha256", "sha384", "sha512")
const plain = { noNullPrototype: true } as const
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const some = (max: number) => fc.uint8Array({ maxLength: max })
const kdf: fc.Arbitrary<Kdf> = fc.oneof(
  fc.record({ type: fc.constant("pbkdf2" as const), hash, iterations: u32 }, plain),
  fc.record(
    { type: fc.constantFrom("argon2i" as const, "argon2id" as const), time: u32, memoryKib: u32, lanes: u32 },
    plain,
  ),
)
const keySize = fc.constantFrom<32 | 64>(32, 64)
const keyslot: fc.Arbitrary<PublicKeyslot> = fc
  .record(
    {
      slot: fc.integer({ min: 0, max: 31 }),
      kdf,
      afHash: hash,
      areaKeySize: keySize,
      keySize,
      areaOffset: u64,
      areaSize: u64,
      passphraseKdf: fc.option(kdf, { nil: null }),
      salt: some(64),
      tried: fc.boolean(),
    },
    plain,
  )
  .map((each) => ({ ...each, sealedSize: each.passphraseKdf === null ? 0 : 768 }))
const header: fc.Arbitrary<PublicHeader> = fc.record(
  {
    uuid: fc.constant(UUID),
    segment: fc.record(
      {
        cipher: fc.constant("aes-xts-plain64" as const),
        sectorSize: fc.constantFrom<512 | 1024 | 2048 | 4096>(512, 1024, 2048, 4096),
        keySize,
        offset: u64,
        size: fc.option(u64, { nil: null }),
        ivTweak: u64,
      },
      plain,
    ),
    digest: fc.record({ hash, iterations: u32, salt: some(64), digest: some(64) }, plain),
    keyslots: fc.array(keyslot, { maxLength: 32 }),
    authenticated: fc.boolean(),
  },
  plain,
)

test("a header survives the control socket", () => {
  fc.assert(fc.property(header, (each) => assert.deepEqual(decodePublicHeader(encodePublicHeader(each), UUID), each)))
})

test("bytes that are no header are a RangeError and nothing else", () => {
  const changed = fc.tuple(header, fc.nat(), fc.nat(255), fc.nat()).map(([each, at, byte, length]) => {
    const bytes = encodePublicHeader(each)
    bytes[at % bytes.length] = byte
    return length % 3 === 0 ? bytes.subarray(0, length % (bytes.length + 1)) : bytes
  })
  fc.assert(
    fc.property(fc.oneof(changed, some(2048)), (bytes) => {
      for (const decode of [() => decodePublicHeader(bytes, UUID), () => decodeLegacyParameters(bytes)]) {
        try {
          decode()
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error))
        }
      }
      // What is taken is what would be sent: nothing can hide in a field that means nothing.
      try {
        assert.deepEqual(encodePublicHeader(decodePublicHeader(bytes, UUID)), new Uint8Array(bytes))
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test("a passphrase's parameters in 2016's flow survive the control socket", () => {
  fc.assert(
    fc.property(
      kdf,
      fc.option(fc.constantFrom("mrsigner" as const, "mrenclave" as const), { nil: null }),
      (each, make) => assert.deepEqual(decodeLegacyParameters(encodeLegacyParameters(each, make)), { kdf: each, make }),
    ),
  )
})

const slot: KeyslotParameters = {
  slot: 3,
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
  afHash: "sha256",
  areaKeySize: 64,
  keySize: 64,
  areaOffset: 32768n,
  areaSize: 258048n,
  passphraseKdf: { type: "argon2id", time: 3, memoryKib: 65536, lanes: 4 },
}
const whole: Header = {
  uuid: UUID,
  segment: { cipher: "aes-xts-plain64", sectorSize: 4096, keySize: 64, offset: 16n << 20n, size: null, ivTweak: 0n },
  digest: { hash: "sha256", iterations: 1000, salt: new Uint8Array(32).fill(1), digest: new Uint8Array(32).fill(2) },
  keyslots: [
    { ...slot, salt: new Uint8Array(32).fill(4), area: new Uint8Array(9), sealed: new Uint8Array(768), tried: true },
  ],
  macs: null,
}

/** abi/enclave.h by hand: little-endian words, quadwords and bytes. */
function bytes(...parts: readonly (number | bigint | readonly [number, number])[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === "bigint") {
        const quad = Buffer.alloc(8)
        quad.writeBigUInt64LE(part)
        return quad
      }
      if (typeof part !== "number") return Buffer.alloc(part[0], part[1])
      const word = Buffer.alloc(4)
      word.writeUInt32LE(part)
      return word
    }),
  )
}

test("the digest is SHA-256 over what abi/enclave.h says, in its order", async () => {
  const segment = bytes(1, 4096, 64, 1, 16n << 20n, 0n, 0n)
  const digest = bytes(3, 1000, 32, 32, [32, 1], [32, 0], [32, 2], [32, 0])
  const keyslot = (flags: number, salt: number) =>
    bytes(
      ...[3, flags, 1, 3, 1000, 0, 0, 0, 3, 4000, 64, 64, 32, 768, 32768n, 258048n, 0n, 0n],
      ...([3, 0, 3, 65536, 4, 0, [32, salt], [32, 0]] as const),
    )
  const sha = (label: string, ...parts: readonly Buffer[]) =>
    new Uint8Array(createHash("sha256").update(label).update(Buffer.concat(parts)).digest())
  const label = "tresor request v2"
  const none = Buffer.alloc(176)

  const unlock = await bindingOf({ purpose: "unlock", header: whole, slot: null })
  assert.deepEqual(unlock, {
    purpose: "unlock",
    uuid: UUID,
    slot: null,
    freshSlot: null,
    unsealed: false,
    request: sha(label, bytes(2, 0, 0, 1), segment, digest, keyslot(1, 4), none),
  })
  const enrol = await bindingOf({ purpose: "enrol", header: whole, slot: 3, fresh: slot, policy: "mrenclave" })
  assert.deepEqual(enrol.request, sha(label, bytes(3, 1, 0, 1), segment, digest, keyslot(1, 4), keyslot(0, 0)))
  const wanted = { uuid: UUID, segment: whole.segment, digest: { hash: "sha256", iterations: 1000 } } as const
  const create = await bindingOf({ purpose: "create", ...wanted, fresh: slot, policy: "mrsigner" })
  const empty = bytes(3, 1000, 32, 32, [128, 0])
  assert.deepEqual(create.request, sha(label, bytes(1, 2, 0, 0), segment, empty, keyslot(0, 0)))
  const legacy = await bindingOf({ purpose: "legacy", uuid: UUID, kdf: slot.kdf, make: "mrsigner" })
  assert.deepEqual(legacy.request, sha("tresor legacy v2", bytes(1, 2, 1, 3, 1000, 0, 0, 0)))
})

test("a header is named the same whichever of its keyslots are tried, and otherwise by everything in it", async () => {
  const hex = async (each: Header | PublicHeader) => Buffer.from(await headerDigest(each)).toString("hex")
  const first = await hex(whole)
  assert.equal(await hex({ ...whole, keyslots: whole.keyslots.map((each) => ({ ...each, tried: false })) }), first)
  assert.equal(await hex(publicHeader(whole)), first)
  const [only] = whole.keyslots
  for (const other of [
    { ...whole, segment: { ...whole.segment, ivTweak: 1n } },
    { ...whole, digest: { ...whole.digest, iterations: 1001 } },
    { ...whole, macs: { segment: new Uint8Array(32), keyslots: new Map() } },
    { ...whole, keyslots: [] },
    { ...whole, keyslots: [{ ...only!, salt: new Uint8Array(32) }] },
    { ...whole, keyslots: [{ ...only!, passphraseKdf: null, sealed: null }] },
  ] satisfies Header[]) {
    assert.notEqual(await hex(other), first)
  }
})

test("what may be tried: the keyslot named, else those marked; unsealed ones when admitted", () => {
  const slots = [
    { slot: 0, tried: true, passphraseKdf: null },
    { slot: 1, tried: true, passphraseKdf: slot.kdf },
    { slot: 2, tried: false, passphraseKdf: slot.kdf },
  ]
  const tried = (choice: Parameters<typeof admitted>[1]) =>
    admitted(slots, choice).flatMap((each) => (each.tried ? [each.slot] : []))
  assert.deepEqual(tried({ slot: null, unsealed: true }), [0, 1])
  assert.deepEqual(tried({ slot: null, unsealed: false }), [1])
  assert.deepEqual(tried({ slot: 2, unsealed: false }), [2])
  assert.deepEqual(tried({ slot: 0, unsealed: true }), [0])
  assert.deepEqual(tried({ slot: 0, unsealed: false }), [])
})

test("a binding says by itself whether unsealed keyslots are meant", async () => {
  const asks = async (asked: Asked) => (await bindingOf(asked)).unsealed
  const bare = { ...whole.keyslots[0]!, slot: 4, passphraseKdf: null, sealed: null }
  const mixed = (tried: boolean): Header => ({ ...whole, keyslots: [...whole.keyslots, { ...bare, tried }] })
  assert.equal(await asks({ purpose: "unlock", header: whole, slot: null }), false)
  assert.equal(await asks({ purpose: "unlock", header: mixed(false), slot: null }), false)
  assert.equal(await asks({ purpose: "unlock", header: mixed(true), slot: null }), true)
  const portable = { ...slot, passphraseKdf: null }
  assert.equal(await asks({ purpose: "enrol", header: whole, slot: 3, fresh: portable, policy: "mrsigner" }), true)
})
