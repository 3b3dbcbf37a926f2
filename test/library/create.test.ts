/** What a program asks of a new volume that LUKS2 or AES-XTS does not have. */
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { test } from "node:test"
import { create, reencrypt } from "../../src/index.ts"
import { Place } from "../cli/harness.ts"

const place = new Place()
Object.assign(process.env, place.env)

const text = (words: string) => new TextEncoder().encode(words)
const CHEAP = { kdf: { type: "pbkdf2", iterations: 1000 } } as const

const SIZES = [
  ...[0, 511, 1000, 8192, 4096.5, Number.NaN].map((sectorSize) => ({ sectorSize, code: "BAD_SECTOR_SIZE" })),
  ...[0, 128, 255, 384, 1024, Number.NaN].map((keySize) => ({ keySize, code: "BAD_KEY_SIZE" })),
]

test("sectors and keys of other sizes are refused, and nothing is made", async () => {
  const path = place.path("none.img")
  for (const { code, ...size } of SIZES) {
    const passphrase = text("first")
    const asked = { size: 32n << 20n, passphrase, recovery: false, ...CHEAP, ...size }
    await assert.rejects(create(path, asked), { code, exitCode: 1 }, JSON.stringify(size))
    assert.ok(!existsSync(path) && passphrase.every((byte) => byte === 0))
  }
})

test("the same of a reencryption, which begins nothing", async () => {
  const path = place.path("kept.img")
  await create(path, { size: 32n << 20n, passphrase: text("first"), recovery: false, ...CHEAP })
  for (const { code, ...size } of SIZES) {
    await assert.rejects(reencrypt(path, { passphrase: text("first"), ...CHEAP, ...(size as object) }), { code })
  }
  assert.equal((await reencrypt(path, { passphrase: text("first"), ...CHEAP })).done, true)
})
