/** An open volume goes from one enclave to another without its passphrase, and to nobody else; the real image, both backends. */
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import * as abi from "../abi/enclave.ts"
import type { Header } from "../luks2/types.ts"
import { createEnclave } from "../native/addon.ts"
import { BACKENDS, createFake, fake } from "../testing/fake-sgx.ts"
import {
  makeHeader,
  passphrase,
  type Release,
  released,
  SEALED_SLOT,
  SLOT,
  seal,
  startImage,
  unlock,
} from "../testing/real-image.ts"
import { testKey } from "../testing/rsa-keys.ts"
import type { EnclaveClient } from "./client.ts"
import { showTo, targetInfo } from "./succession.ts"
import type { SealPolicy, Successor, VolumeHandle } from "./types.ts"

afterEach(() => fake.configure({}))

const [before, now] = [testKey(0), testKey(1)]

const PLAIN = Buffer.alloc(4096, "takeover")

function crypt(enclave: EnclaveClient, handle: VolumeHandle, decrypt: boolean, input: Uint8Array): Buffer {
  const output = Buffer.alloc(input.length)
  enclave.sectors(handle, decrypt, [{ input, output, sector: 8n }])
  return output
}

/** `successor` with a challenge of its own, as `predecessor` can check it. */
async function shown(successor: EnclaveClient, predecessor: EnclaveClient): Promise<Successor> {
  return showTo(await targetInfo(predecessor), await successor.challenge("take_over"), successor)
}

async function approve(
  enclave: EnclaveClient,
  header: Header,
  handle: VolumeHandle,
  { named, sealedFor = named, existing = passphrase }: { named: string; sealedFor?: string; existing?: Uint8Array },
) {
  const sealed = await seal(enclave, { purpose: "approve", header, slot: null, successor: sealedFor }, { existing })
  return enclave.approve(sealed, header, handle, named)
}

for (const { backend, create } of BACKENDS) {
  const start = (release: Release) =>
    startImage(create, backend, released({ ...release, key: release.changed === true ? now : before }))
  /** Of one signer, whatever changed. */
  const startSigned = (release: Release) => startImage(create, backend, released({ ...release, key: before }))

  async function opened(enclave: EnclaveClient, policy: SealPolicy = "mrenclave") {
    const header = await makeHeader(enclave, SEALED_SLOT, policy)
    return { header, handle: (await unlock(enclave, header)).handle }
  }

  test(`${backend}: another start of the same enclave takes a volume over, and the first has it no more once closed`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2 })
    const { header, handle } = await opened(old)
    const ciphertext = crypt(old, handle, false, PLAIN)
    const yielded = await old.yieldVolume(handle, await shown(fresh, old))
    const taken = await fresh.takeOver(yielded, header)
    assert.deepEqual(crypt(fresh, taken, true, ciphertext), PLAIN)
    old.closeVolume(handle)
    assert.throws(() => crypt(old, handle, true, ciphertext), { code: "ENCLAVE_HANDLE" })
    await assert.rejects(old.yieldVolume(handle, await shown(fresh, old)), { code: "ENCLAVE_HANDLE" })
    // And on it goes.
    await using third = await start({ isvSvn: 2 })
    const again = await third.takeOver(await fresh.yieldVolume(taken, await shown(third, fresh)), header)
    assert.deepEqual(crypt(third, again, true, ciphertext), PLAIN)
  })

  test(`${backend}: another enclave gets a volume only when its owner approved it, with a passphrase`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    const { header, handle } = await opened(old)
    const named = fresh.identity.mrenclave
    const refused = { code: "ENCLAVE_APPROVAL", exitCode: 2 }
    const attempt = async () => old.yieldVolume(handle, await shown(fresh, old))
    await assert.rejects(attempt(), refused)
    await assert.rejects(approve(old, header, handle, { named, existing: Buffer.from("wrong") }), {
      code: "ENCLAVE_PASSPHRASE",
    })
    // The owner named another: the host cannot say otherwise.
    await assert.rejects(approve(old, header, handle, { named, sealedFor: "5a".repeat(32) }), {
      code: "ENCLAVE_MESSAGE",
    })
    await approve(old, header, handle, { named: "5a".repeat(32) })
    await assert.rejects(attempt(), refused)
    await approve(old, header, handle, { named })
    const ciphertext = crypt(old, handle, false, PLAIN)
    const taken = await fresh.takeOver(await attempt(), header)
    assert.deepEqual(crypt(fresh, taken, true, ciphertext), PLAIN)
    // What was approved is not handed on.
    await using third = await start({ isvSvn: 2 })
    await assert.rejects(fresh.yieldVolume(taken, await shown(third, fresh)), refused)
  })

  test(`${backend}: an approval is for the volume whose passphrase was given`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    const mine = await opened(old)
    const other = await opened(old)
    const named = fresh.identity.mrenclave
    await assert.rejects(approve(old, mine.header, other.handle, { named }), { code: "ENCLAVE_HANDLE" })
    await assert.rejects(old.yieldVolume(other.handle, await shown(fresh, old)), { code: "ENCLAVE_APPROVAL" })
    // A sealed request of another purpose is none.
    const sealed = await seal(old, { purpose: "unlock", header: mine.header, slot: null }, { existing: passphrase })
    await assert.rejects(old.approve(sealed, mine.header, mine.handle, named), { code: "ENCLAVE_MESSAGE" })
    const without = { ...mine.header, macs: null }
    await assert.rejects(approve(old, without, mine.handle, { named }), { code: "ENCLAVE_HEADER" })
  })

  test(`${backend}: policy mrsigner lets images of the signer take over, and policy mrenclave does not`, async () => {
    await using old = await startSigned({ isvSvn: 2 })
    await using fresh = await startSigned({ isvSvn: 3, changed: true })
    await using stranger = await start({ isvSvn: 3, changed: true })
    await using vectors = await startSigned({ isvSvn: 3, changed: true, product: 2 })
    const signed = await opened(old, "mrsigner")
    const taken = await fresh.takeOver(await old.yieldVolume(signed.handle, await shown(fresh, old)), signed.header)
    assert.deepEqual(crypt(fresh, taken, true, crypt(old, signed.handle, false, PLAIN)), PLAIN)
    await assert.rejects(old.yieldVolume(signed.handle, await shown(stranger, old)), { code: "ENCLAVE_APPROVAL" })
    await assert.rejects(old.yieldVolume(signed.handle, await shown(vectors, old)), { code: "ENCLAVE_SUCCESSOR" })
    const bound = await opened(old)
    await assert.rejects(old.yieldVolume(bound.handle, await shown(fresh, old)), { code: "ENCLAVE_APPROVAL" })
    // Never to an older one, approved or not: its faults are known.
    await assert.rejects(fresh.yieldVolume(taken, await shown(old, fresh)), { code: "ENCLAVE_SEAL_VERSION" })
    await approve(fresh, signed.header, taken, { named: old.identity.mrenclave })
    await assert.rejects(fresh.yieldVolume(taken, await shown(old, fresh)), { code: "ENCLAVE_SEAL_VERSION" })
  })

  test(`${backend}: a report that is forged, of another enclave or for another is refused, bit by bit`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2 })
    await using foreign = await start({ isvSvn: 2, changed: true })
    const { handle } = await opened(old)
    const code = { code: "ENCLAVE_SUCCESSOR", exitCode: 2 }
    const good = await shown(fresh, old)
    const spoilt = (part: Partial<Successor>) => old.yieldVolume(handle, { ...good, ...part })
    await assert.rejects(spoilt({ publicKey: foreign.identity.publicKey }), code)
    await assert.rejects(spoilt({ nonce: new Uint8Array(32) }), code)
    await assert.rejects(spoilt({ report: (await shown(foreign, old)).report }), code)
    // Made for another enclave: that one's report key, not ours.
    await assert.rejects(spoilt({ report: (await showTo(await targetInfo(foreign), good.nonce, fresh)).report }), code)
    for (let at = 0; at < good.report.length; at++) {
      const report = good.report.slice()
      report[at]! ^= 1
      await assert.rejects(spoilt({ report }), code, `byte ${at}`)
    }
    await spoilt({})
  })

  test(`${backend}: what was yielded is taken once, by the enclave it is for, unaltered, and for that volume's header`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2 })
    await using again = await start({ isvSvn: 2 })
    const { header, handle } = await opened(old)
    const other = await opened(old)
    const yielded = await old.yieldVolume(handle, await shown(fresh, old))
    await assert.rejects(again.takeOver(yielded, header), { code: "ENCLAVE_MESSAGE" })
    await fresh.takeOver(yielded, header)
    await assert.rejects(fresh.takeOver(yielded, header), { code: "ENCLAVE_MESSAGE" })
    // A nonce of the host's, or of another purpose, is none of ours.
    for (const nonce of [new Uint8Array(32), await fresh.challenge("unlock")]) {
      const replayed = await old.yieldVolume(handle, await showTo(await targetInfo(old), nonce, fresh))
      await assert.rejects(fresh.takeOver(replayed, header), { code: "ENCLAVE_MESSAGE" })
    }
    const attempt = async (of: Header) => fresh.takeOver(await old.yieldVolume(handle, await shown(fresh, old)), of)
    await assert.rejects(attempt(other.header), { code: "ENCLAVE_MESSAGE" })
    await assert.rejects(attempt({ ...header, macs: null }), { code: "ENCLAVE_HEADER" })
    await assert.rejects(attempt({ ...header, segment: { ...header.segment, ivTweak: 8n } }), {
      code: "ENCLAVE_HEADER",
    })
    await assert.rejects(attempt({ ...header, macs: other.header.macs }), { code: "ENCLAVE_HEADER" })
    for (let at = 0; at < abi.yielded.size; at++) {
      const altered = await old.yieldVolume(handle, await shown(fresh, old))
      altered[at]! ^= 1
      await assert.rejects(fresh.takeOver(altered, header), (error: { code: string }) =>
        ["ENCLAVE_MESSAGE", "ENCLAVE_REQUEST"].includes(error.code),
      )
    }
    fresh.closeVolume(await attempt(header))
  })

  test(`${backend}: a volume opened by a keyslot without a seal goes to the same enclave, or to an approved one`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    await using same = await start({ isvSvn: 2 })
    const made = await makeHeader(old, SLOT, "mrenclave")
    for (const header of [made, { ...made, macs: null }]) {
      const { handle } = await unlock(old, header)
      const ciphertext = crypt(old, handle, false, PLAIN)
      const taken = await same.takeOver(await old.yieldVolume(handle, await shown(same, old)), header)
      assert.deepEqual(crypt(same, taken, true, ciphertext), PLAIN)
      await assert.rejects(old.yieldVolume(handle, await shown(fresh, old)), { code: "ENCLAVE_APPROVAL" })
      await approve(old, header, handle, { named: fresh.identity.mrenclave })
      await old.yieldVolume(handle, await shown(fresh, old))
    }
  })
}

test("sgx: a debug enclave takes nothing over from another, approved or not, and yields nothing to one", async () => {
  const start = (debug: boolean) => startImage(createFake, "sgx", released({ isvSvn: 2, key: before, debug }))
  await using production = await start(false)
  await using debuggable = await start(true)
  assert.deepEqual([production.identity.debug, debuggable.identity.debug], [false, true])
  assert.equal(production.identity.mrenclave, debuggable.identity.mrenclave)
  for (const [from, to] of [
    [production, debuggable],
    [debuggable, production],
  ] as const) {
    const header = await makeHeader(from, SEALED_SLOT, "mrsigner")
    const { handle } = await unlock(from, header)
    const refused = { code: "ENCLAVE_SUCCESSOR", exitCode: 2 }
    await assert.rejects(async () => from.yieldVolume(handle, await shown(to, from)), refused)
    await approve(from, header, handle, { named: to.identity.mrenclave })
    await assert.rejects(async () => from.yieldVolume(handle, await shown(to, from)), refused)
    // Of its own kind, it does.
    await using same = await start(from.identity.debug)
    await same.takeOver(await from.yieldVolume(handle, await shown(same, from)), header)
  }
})

test("an enclave of another backend takes nothing over", async () => {
  await using old = await startImage(createEnclave, "software", released({ isvSvn: 2, key: before }))
  await using fresh = await startImage(createFake, "sgx", released({ isvSvn: 2, key: before }))
  const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
  const { handle } = await unlock(old, header)
  await assert.rejects(old.yieldVolume(handle, await shown(fresh, old)), { code: "ENCLAVE_SUCCESSOR" })
})
