/** The real image under the software backend, against node:crypto and against a host that lies. */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import type { Header, Keyslot, KeyslotParameters, Segment } from "../luks2/types.ts"
import { decryptXts, volumeKeyOf } from "../testing/luks.ts"
import { type Asked, bindingOf } from "./asked.ts"
import type { EnclaveClient } from "./client.ts"
import { openEnclave, openVectors } from "./loader.ts"
import { sealRequest } from "./seal-request.ts"
import type { Enclave, RequestContext } from "./types.ts"

const UUID = "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11"
const folder = mkdtempSync(join(tmpdir(), "tresor-enclave-"))
const passphrase = Buffer.from("a typed passphrase")
let enclave: EnclaveClient

before(async () => {
  enclave = await openEnclave({ backend: "software", stateDir: folder })
})

after(async () => {
  await enclave?.close()
  rmSync(folder, { recursive: true })
})

const segment: Segment = {
  cipher: "aes-xts-plain64",
  sectorSize: 4096,
  keySize: 64,
  offset: 16n << 20n,
  size: null,
  ivTweak: 0n,
}

const minimal = { type: "pbkdf2", hash: "sha256", iterations: 1000 } as const

function parameters(more: Partial<KeyslotParameters> = {}): KeyslotParameters {
  return {
    slot: 0,
    kdf: minimal,
    afHash: "sha256",
    areaKeySize: 64,
    keySize: 64,
    areaOffset: 32768n,
    areaSize: 258048n,
    passphraseKdf: { type: "argon2id", time: 2, memoryKib: 64, lanes: 2 },
    ...more,
  }
}

async function seal(
  to: Enclave,
  asked: Asked,
  secrets: { readonly existing?: Uint8Array; readonly fresh?: Uint8Array },
  other: Partial<Omit<RequestContext, "nonce">> = {},
) {
  const nonce = await to.challenge(other.purpose ?? asked.purpose)
  return sealRequest(to.identity.publicKey, { ...(await bindingOf(asked)), ...other, nonce }, secrets)
}

const description = { uuid: UUID, segment, digest: { hash: "sha256", iterations: 1000 } } as const

async function make(slot = parameters(), policy: "mrsigner" | "mrenclave" = "mrsigner", on: Enclave = enclave) {
  const asked = { purpose: "create", ...description, fresh: slot, policy } as const
  const { digest, keyslot, macs } = await on.create(
    await seal(on, asked, { fresh: passphrase }),
    description,
    slot,
    policy,
  )
  const made: Keyslot = { ...slot, ...keyslot, tried: true }
  const whole: Header = { uuid: UUID, segment, digest, keyslots: [made], macs }
  return { header: whole, made, digest }
}

const asking = (header: Header) => ({ purpose: "unlock", header, slot: null }) as const

const unlock = async (header: Header, existing: Uint8Array = passphrase, on: Enclave = enclave) =>
  on.unlock(await seal(on, asking(header), { existing }), header)

test("every published vector passes", async () => {
  await using vectors = await openVectors({ backend: "software" })
  const results = await vectors.selftest()
  assert.equal(results.length, 16)
  assert.deepEqual(
    results.filter((result) => !result.passed),
    [],
  )
})

test("a portable keyslot opens with node:crypto alone, and the sectors are dm-crypt's", async () => {
  for (const keySize of [32, 64] as const) {
    for (const sectorSize of [512, 4096] as const) {
      const slot = parameters({ passphraseKdf: null, keySize, areaSize: BigInt(keySize * 4000) })
      const own = { ...segment, keySize, sectorSize, ivTweak: 3n }
      const wanted = { uuid: UUID, segment: own, digest: { hash: "sha512", iterations: 1000 } } as const
      const asked = { purpose: "create", ...wanted, fresh: slot, policy: "mrsigner" } as const
      const made = await enclave.create(await seal(enclave, asked, { fresh: passphrase }), wanted, slot, "mrsigner")
      const key = volumeKeyOf({ ...slot, ...made.keyslot }, made.digest, passphrase)
      const header: Header = {
        uuid: UUID,
        segment: own,
        digest: made.digest,
        keyslots: [{ ...slot, ...made.keyslot, tried: true }],
        macs: made.macs,
      }
      const { handle } = await unlock(header)
      const plain = randomBytes(3 * 4096)
      const cipher = Buffer.from(new ArrayBuffer(plain.length))
      const input = Buffer.from(new ArrayBuffer(plain.length))
      input.set(plain)
      enclave.sectors(handle, false, [{ input, output: cipher, sector: 8n }])
      assert.deepEqual(decryptXts(key, sectorSize, 8n + 3n, cipher), plain)
      enclave.sectors(handle, true, [{ input: cipher, output: cipher, sector: 8n }])
      assert.deepEqual(cipher, plain)
      enclave.closeVolume(handle)
      assert.throws(() => enclave.sectors(handle, true, [{ input: cipher, output: cipher, sector: 8n }]), {
        code: "ENCLAVE_HANDLE",
      })
    }
  }
})

test("a sealed keyslot opens with its passphrase and no other", async () => {
  const { header } = await make()
  const opened = await unlock(header)
  assert.equal(opened.slot, 0)
  assert.equal(opened.resealed, null)
  assert.deepEqual([opened.segmentChanged, opened.slotsChanged, opened.slotsAdded], [false, [], []])
  enclave.closeVolume(opened.handle)
  for (const wrong of [Buffer.from("a typed passphras"), Buffer.from("a typed passphrase\n"), Buffer.alloc(0)]) {
    await assert.rejects(unlock(header, wrong), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  }
})

test("a recorded message is refused a second time", async () => {
  const { header } = await make()
  const sealed = await seal(enclave, asking(header), { existing: passphrase })
  enclave.closeVolume((await enclave.unlock(sealed, header)).handle)
  await assert.rejects(enclave.unlock(sealed, header), { code: "ENCLAVE_MESSAGE" })
})

test("a TARGETINFO whose reserved bytes are set is refused, and is not the end of the enclave", async () => {
  // SDM vol. 3D, EREPORT: #GP for those of bytes 49, 56 to 63 and 128 to 511.
  for (const at of [49, 56, 63, 128, 511]) {
    const target = new Uint8Array(512)
    target[at] = 1
    await assert.rejects(enclave.report(target, randomBytes(32)), { code: "ENCLAVE_REQUEST" })
  }
  const report = await enclave.report(new Uint8Array(512).fill(1, 0, 49), randomBytes(32))
  assert.equal(report.length, 432)
})

test("a message for another volume is refused", async () => {
  const { header } = await make()
  const other = "00000000-0000-4000-8000-000000000000"
  const sealed = await seal(enclave, asking(header), { existing: passphrase }, { uuid: other })
  const context = { ...sealed.context, uuid: UUID }
  await assert.rejects(enclave.unlock({ ...sealed, context }, header), { code: "ENCLAVE_MESSAGE" })
})

test("a message for another enclave is refused", async () => {
  const { header } = await make()
  await using second = await openEnclave({ backend: "software", stateDir: folder })
  assert.notDeepEqual(second.identity.publicKey, enclave.identity.publicKey)
  const sealed = await seal(enclave, asking(header), { existing: passphrase })
  await assert.rejects(second.unlock(sealed, header), { code: "ENCLAVE_MESSAGE" })
})

test("a message for another purpose is refused", async () => {
  const { header } = await make()
  const sealed = await seal(enclave, asking(header), { existing: passphrase }, { purpose: "authenticate" })
  const context = { ...sealed.context, purpose: "unlock" as const }
  await assert.rejects(enclave.unlock({ ...sealed, context }, header), { code: "ENCLAVE_MESSAGE" })
})

test("an altered message is refused", async () => {
  const { header } = await make()
  for (const at of [0, 31, 32, 40, -1]) {
    const sealed = await seal(enclave, asking(header), { existing: passphrase })
    const bytes = sealed.bytes.slice()
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    await assert.rejects(enclave.unlock({ ...sealed, bytes }, header), { code: "ENCLAVE_MESSAGE" })
  }
})

test("a header changed by hand is named before a handle exists", async () => {
  const { header } = await make()
  const changes: Partial<Segment>[] = [
    { sectorSize: 512 },
    { offset: 17n << 20n },
    { ivTweak: 1n },
    { size: 1n << 20n },
  ]
  for (const change of changes) {
    await assert.rejects(unlock({ ...header, segment: { ...segment, ...change } }), (error: unknown) => {
      const { code, facts } = error as { code: string; facts: { segmentChanged: boolean } }
      assert.equal(
        code,
        "ENCLAVE_HEADER",
        JSON.stringify(change, (_, value) => String(value)),
      )
      assert.equal(facts.segmentChanged, true)
      return true
    })
  }
  const slot = header.keyslots[0]!
  const moved = await unlock({ ...header, keyslots: [{ ...slot, areaOffset: 36864n }] })
  assert.deepEqual(moved.slotsChanged, [0])
  enclave.closeVolume(moved.handle)
})

test("authenticate vouches for a changed header; enrol adds a passphrase only with an existing one", async () => {
  const { header } = await make()
  const changed: Header = { ...header, segment: { ...segment, size: 1n << 30n } }
  const vouching = { ...asking(changed), purpose: "authenticate" } as const
  const { macs, macsMissing } = await enclave.authenticate(
    await seal(enclave, vouching, { existing: passphrase }),
    changed,
  )
  assert.equal(macsMissing, false)
  const again: Header = { ...changed, macs }
  enclave.closeVolume((await unlock(again)).handle)

  const second = Buffer.from("second")
  const fresh = parameters({ slot: 5, areaOffset: 290816n })
  const asked = { purpose: "enrol", header: again, slot: null, fresh, policy: "mrsigner" } as const
  const wrong = await seal(enclave, asked, { existing: Buffer.from("no"), fresh: second })
  await assert.rejects(enclave.enrol(wrong, again, fresh, "mrsigner"), { code: "ENCLAVE_PASSPHRASE" })
  const right = await seal(enclave, asked, { existing: passphrase, fresh: second })
  const enrolled = await enclave.enrol(right, again, fresh, "mrsigner")
  assert.equal(enrolled.slot, 0)
  const slots: Keyslot[] = [...again.keyslots, { ...fresh, ...enrolled.keyslot, tried: true }]
  const both: Header = { ...again, keyslots: slots, macs: enrolled.macs }
  const opened = await unlock(both, second)
  assert.equal(opened.slot, 5)
  enclave.closeVolume(opened.handle)
})

test("a header whose MACs were taken away is refused, until a passphrase vouches for it", async () => {
  const { header } = await make()
  const bare: Header = { ...header, macs: null }
  await assert.rejects(unlock(bare), (error: unknown) => {
    const { code, facts, message } = error as { code: string; facts: { macsMissing?: true }; message: string }
    assert.deepEqual([code, facts.macsMissing], ["ENCLAVE_HEADER", true])
    assert.match(message, /no MACs.*header authenticate/)
    return true
  })
  const fresh = parameters({ slot: 5, areaOffset: 290816n })
  const asked = { purpose: "enrol", header: bare, slot: null, fresh, policy: "mrsigner" } as const
  const sealed = await seal(enclave, asked, { existing: passphrase, fresh: Buffer.from("second") })
  await assert.rejects(enclave.enrol(sealed, bare, fresh, "mrsigner"), { code: "ENCLAVE_HEADER" })
  const vouching = { ...asking(bare), purpose: "authenticate" } as const
  const { macs, macsMissing } = await enclave.authenticate(
    await seal(enclave, vouching, { existing: passphrase }),
    bare,
  )
  assert.equal(macsMissing, true)
  assert.deepEqual(macs, header.macs)
  // A keyslot without a seal has no MACs to lose: cryptsetup's volumes open.
  const portable = await make(parameters({ passphraseKdf: null }))
  enclave.closeVolume((await unlock({ ...portable.header, macs: null })).handle)
})

test("what the host changes of a request is refused, whatever it is", async () => {
  const { header } = await make()
  const changes: readonly ((header: Header) => Header)[] = [
    (each) => ({ ...each, macs: null }),
    (each) => ({ ...each, segment: { ...segment, sectorSize: 512 } }),
    (each) => ({ ...each, digest: { ...each.digest, iterations: 1 } }),
    (each) => ({ ...each, keyslots: [{ ...each.keyslots[0]!, kdf: { ...minimal, iterations: 1 } }] }),
    (each) => ({ ...each, keyslots: [{ ...each.keyslots[0]!, passphraseKdf: null, sealed: null }] }),
    (each) => ({ ...each, keyslots: [...each.keyslots, { ...each.keyslots[0]!, slot: 1 }] }),
    (each) => ({ ...each, keyslots: [{ ...each.keyslots[0]!, slot: 1 }] }),
  ]
  for (const [index, change] of changes.entries()) {
    const sealed = await seal(enclave, asking(header), { existing: passphrase })
    await assert.rejects(enclave.unlock(sealed, change(header)), /ENCLAVE_MESSAGE|refused|malformed/, `change ${index}`)
  }
  // The new passphrase's keyslot: none that costs a guesser less than the client asked for.
  const slot = parameters()
  const asked = { purpose: "create", ...description, fresh: slot, policy: "mrenclave" } as const
  for (const [fresh, policy] of [
    [{ ...slot, passphraseKdf: null }, "mrenclave"],
    [{ ...slot, passphraseKdf: { ...slot.passphraseKdf!, time: 100 } }, "mrenclave"],
    [slot, "mrsigner"],
  ] as const) {
    const sealed = await seal(enclave, asked, { fresh: passphrase })
    await assert.rejects(enclave.create(sealed, description, fresh as KeyslotParameters, policy), {
      code: /ENCLAVE_(MESSAGE|REQUEST)/,
    })
  }
  const cheap = parameters({ passphraseKdf: { type: "pbkdf2", hash: "sha256", iterations: 1 } })
  await assert.rejects(make(cheap), { code: "ENCLAVE_UNSUPPORTED" })
})

test("a seal says why it does not open", async () => {
  const { header, made } = await make()
  const elsewhere = mkdtempSync(join(tmpdir(), "tresor-elsewhere-"))
  try {
    await using other = await openEnclave({ backend: "software", stateDir: elsewhere })
    await assert.rejects(unlock(header, passphrase, other), { code: "ENCLAVE_SEAL_MACHINE", exitCode: 2 })
  } finally {
    rmSync(elsewhere, { recursive: true })
  }
  const damaged = made.sealed!.slice()
  damaged[700]! ^= 1
  await assert.rejects(unlock({ ...header, keyslots: [{ ...made, sealed: damaged }] }), {
    code: "ENCLAVE_SEAL_DAMAGED",
  })
  // Whoever edits a blob and mends its checksum is told what it then claims.
  const claims = made.sealed!.slice()
  claims[624]! ^= 2
  const rest = createHash("sha256").update(claims.subarray(0, 16)).update(claims.subarray(48)).digest()
  claims.set(rest, 16)
  await assert.rejects(unlock({ ...header, keyslots: [{ ...made, sealed: claims }] }), {
    code: "ENCLAVE_SEAL_BACKEND",
  })
})

test("Argon2 of cryptsetup's default size runs, and its memory is given back", async () => {
  const before = process.memoryUsage.rss()
  await using vectors = await openVectors({ backend: "software" })
  await vectors.benchmark({ type: "argon2id", time: 1, memoryKib: 1 << 20, lanes: 4 }, 32)
  assert.ok(process.memoryUsage.rss() - before < 512 << 20, "the heap of 1 GiB stayed committed")
  const tooMuch = { type: "argon2id", time: 1, memoryKib: 2 << 20, lanes: 4 } as const
  await assert.rejects(vectors.benchmark(tooMuch, 32), { code: "ENCLAVE_MEMORY", exitCode: 3 })
})

test("one key serves each mode of the 2016 flow, and the same bytes give the same key", async () => {
  const request = {
    uuid: UUID,
    keySize: 16,
    mode: "cbc",
    kdf: minimal,
    secret: Buffer.from("hash of a passphrase"),
  } as const
  const first = await enclave.legacy({ ...request, salt: { make: "mrsigner" } })
  const again = await enclave.legacy({ ...request, salt: { sealed: first.sealed } })
  const crypt = (handle: typeof first.handle, input: Buffer, decrypt: boolean) => {
    const output = Buffer.from(new ArrayBuffer(input.length))
    const source = Buffer.from(new ArrayBuffer(input.length))
    source.set(input)
    enclave.blocks([{ input: source, output, handle, mode: "cbc", decrypt, iv: new Uint8Array(16).fill(1) }])
    return output
  }
  const plain = randomBytes(512)
  assert.deepEqual(crypt(again.handle, crypt(first.handle, plain, false), true), plain)
  const other = await enclave.legacy({ ...request, secret: Buffer.from("another"), salt: { sealed: first.sealed } })
  assert.notDeepEqual(crypt(other.handle, crypt(first.handle, plain, false), true), plain)
  for (const { handle } of [first, again, other]) enclave.closeVolume(handle)
})

test("a report binds the public key to the asker's nonce", async () => {
  const nonce = randomBytes(32)
  const report = await enclave.report(new Uint8Array(512), nonce)
  assert.equal(report.length, 432)
  const expected = createHash("sha256")
    .update("tresor report v1")
    .update(enclave.identity.publicKey)
    .update(nonce)
    .digest()
  assert.deepEqual(Buffer.from(report.subarray(320, 352)), expected)
  assert.deepEqual(Buffer.from(report.subarray(352, 384)), Buffer.alloc(32))
  assert.equal(Buffer.from(report.subarray(64, 96)).toString("hex"), enclave.identity.mrenclave)
})

test("after close nothing is served", async () => {
  const own = await openEnclave({ backend: "software", stateDir: folder })
  await own.close()
  assert.equal(own.alive, false)
  await assert.rejects(own.challenge("unlock"), { code: "ENCLAVE_LOST" })
})
