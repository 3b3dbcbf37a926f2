import assert from "node:assert/strict"
import { test } from "node:test"
import { extra } from "../luks2/json.ts"
import { madeMember, madeOf } from "../luks2/made.ts"
import type { ForeignToken, LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import type { TresorToken } from "../luks2/tresor-token.ts"
import { slotStrengths } from "./strength.ts"

const keyslot: LuksKeyslot = {
  type: "luks2",
  keySize: 64,
  af: { type: "luks1", stripes: 4000, hash: "sha256" },
  area: { type: "raw", offset: 0n, size: 0n, encryption: "aes-xts-plain64", keySize: 64 },
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000, salt: new Uint8Array(32) },
  priority: null,
}

function told(...tokens: readonly (ForeignToken | TresorToken)[]) {
  const metadata = {
    keyslots: new Map([[0, keyslot]]),
    digests: new Map([[0, { type: "pbkdf2", keyslots: [0], segments: [0] }]]),
    segments: new Map([[0, {}]]),
    tokens: new Map(tokens.map((token, number) => [number, token])),
  } as unknown as Metadata
  return slotStrengths(metadata)[0]!
}

const foreign = (type: string): ForeignToken => ({ type, keyslots: [0], foreign: true })

test("a token of a known type with a random key is strong", () => {
  for (const type of ["systemd-recovery", "systemd-tpm2", "systemd-fido2", "systemd-pkcs11", "clevis"])
    assert.equal(told(foreign(type)).strength, "strong", type)
})

test("a token of a type that is not known says nothing of strength", () => {
  for (const type of ["ssh", "acme-escrow", "x", "constructor", "__proto__", "tresor"]) {
    const { strength, why } = told(foreign(type))
    assert.equal(strength, "unknown", type)
    assert.ok(why.includes(type))
  }
  assert.equal(told(foreign("acme"), foreign("systemd-tpm2")).strength, "strong")
})

test("no token, or a keyring's: the KDF counts", () => {
  assert.equal(told().strength, "weak")
  assert.equal(told(foreign("luks2-keyring")).strength, "weak")
})

const sealed = (members: ReadonlyMap<string, string> | undefined) =>
  ({
    type: "tresor",
    keyslots: [0],
    enclave: { backend: "software" },
    ...(members === undefined ? {} : { [extra]: members }),
  }) as unknown as TresorToken

test("a sealed keyslot says where and when it was made, and nonsense is as good as nothing", () => {
  const made = { host: "attic", on: "2026-11-28", secret: { id: "0123456789abcdef", uid: 1000 } }
  const { strength, why } = told(sealed(new Map([madeMember(made)])))
  assert.equal(strength, "strong")
  assert.match(why, /^sealed to attic on 2026-11-28: /)
  assert.deepEqual(madeOf(sealed(new Map([madeMember(made)]))), made)
  // Of another version, or damaged: what is left of it.
  for (const secret of [
    null,
    7,
    {},
    { id: "xyz", uid: 1 },
    { id: made.secret.id, uid: -1 },
    { id: made.secret.id, uid: "0" },
  ]) {
    const text = JSON.stringify({ ...made, secret })
    assert.deepEqual(madeOf(sealed(new Map([["made", text]]))), { ...made, secret: null }, text)
  }
  assert.match(told(sealed(undefined)).why, /^sealed to a machine: /)
  for (const text of [
    "null",
    "7",
    '"attic"',
    "[]",
    '{"host":7,"on":"2026-11-28"}',
    '{"host":"","on":"2026-11-28"}',
    '{"host":"a","on":"yesterday"}',
    '{"host":"a"}',
  ])
    assert.equal(madeOf(sealed(new Map([["made", text]]))), null, text)
})
