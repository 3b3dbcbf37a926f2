/** What a seal survives and what it does not, with the real image on the fake driver: each refusal says its own reason. */
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import * as abi from "../abi/enclave.ts"
import type { Header } from "../luks2/types.ts"
import { addressOf, createEnclave } from "../native/addon.ts"
import { createFake, fake } from "../testing/fake-sgx.ts"
import { makeHeader, type Release, released, SLOT, startImage, startVectors, unlock } from "../testing/real-image.ts"
import { testKey } from "../testing/rsa-keys.ts"
import type { EnclaveClient } from "./client.ts"
import { Request } from "./request.ts"
import type { SealPolicy } from "./types.ts"

const SEALED = { ...SLOT, passphraseKdf: { type: "argon2id", time: 2, memoryKib: 64, lanes: 2 } } as const

afterEach(() => fake.configure({}))

async function within<T>(release: Release, work: (client: EnclaveClient) => Promise<T>): Promise<T> {
  await using client = await startImage(createFake, "sgx", released(release))
  return await work(client)
}

/** A header sealed by one release of the enclave. */
const sealedBy = (release: Release, policy: SealPolicy = "mrsigner"): Promise<Header> =>
  within(release, (client) => makeHeader(client, SEALED, policy))

const opens = (release: Release, header: Header) =>
  within(release, async (client) => {
    const { handle, resealed } = await unlock(client, header)
    client.closeVolume(handle)
    return resealed
  })

const withSealed = (header: Header, sealed: Uint8Array): Header => ({
  ...header,
  keyslots: [{ ...header.keyslots[0]!, sealed }],
})

async function refused(release: Release, header: Header, code: string): Promise<void> {
  const before = Buffer.from(header.keyslots[0]!.sealed!)
  await assert.rejects(opens(release, header), { code, exitCode: 2 })
  assert.deepEqual(Buffer.from(header.keyslots[0]!.sealed!), before, "the blob was touched")
}

test("a microcode update locks nobody out: the old seal opens and is made anew", async () => {
  const header = await sealedBy({ isvSvn: 2 })
  assert.equal(await opens({ isvSvn: 2 }, header), null, "nothing is stale")
  fake.configure({ microcodeUpdates: 1 })
  const resealed = await opens({ isvSvn: 2 }, header)
  assert.ok(resealed !== null)
  const renewed = withSealed(header, resealed)
  assert.equal(await opens({ isvSvn: 2 }, renewed), null)
  // The CPU before the update cannot make the new key, and says so.
  fake.configure({})
  await refused({ isvSvn: 2 }, renewed, "ENCLAVE_SEAL_VERSION")
  assert.equal(await opens({ isvSvn: 2 }, header), null)
})

test("an upgrade opens what the version before sealed, a downgrade does not", async () => {
  const header = await sealedBy({ isvSvn: 2 })
  const resealed = await opens({ isvSvn: 3, changed: true }, header)
  assert.ok(resealed !== null)
  await refused({ isvSvn: 2 }, withSealed(header, resealed), "ENCLAVE_SEAL_VERSION")
  await refused({ isvSvn: 1, changed: true }, header, "ENCLAVE_SEAL_VERSION")
})

test("another signer's enclave is named", async () => {
  const key = testKey(1)
  await refused({ isvSvn: 2, key }, await sealedBy({ isvSvn: 2 }), "ENCLAVE_SEAL_SIGNER")
})

test("an image that root builds and signs opens no seal of either policy, whatever version it claims", async () => {
  const key = testKey(1)
  for (const [policy, code] of [
    ["mrenclave", "ENCLAVE_SEAL_ENCLAVE"],
    ["mrsigner", "ENCLAVE_SEAL_SIGNER"],
  ] as const) {
    const header = await sealedBy({ isvSvn: 2 }, policy)
    for (const isvSvn of [2, 0xffff]) await refused({ isvSvn, changed: true, key }, header, code)
  }
})

test("the image of the published vectors opens nothing of the product's", async () => {
  // By the same signer and with the product's own code, its number alone keeps it out.
  const header = await sealedBy({ isvSvn: 2 })
  await refused({ isvSvn: 2, product: 2 }, header, "ENCLAVE_SEAL_SIGNER")
  await using product = await startImage(createFake, "sgx")
  await using vectors = await startVectors(createFake, "sgx")
  const { isvProdId, mrenclave } = vectors.identity
  assert.deepEqual([product.identity.isvProdId, isvProdId], [1, 2])
  assert.notEqual(mrenclave, product.identity.mrenclave)
  // And none of its operations takes a seal, a key or a passphrase.
  const served = new Set(["hello", "selftest", "benchmark", "assist"])
  for (const struct of [
    abi.challenge,
    abi.report,
    abi.create,
    abi.unlock,
    abi.enrol,
    abi.sectors,
    abi.close,
    abi.legacy,
    abi.blocks,
    abi.bequeath,
    abi.inherit,
    abi.reencrypt,
    abi.zone,
    abi.convert,
    abi.approve,
    abi.yieldKey,
    abi.takeOver,
    abi.finish,
  ]) {
    const name = struct.name.slice("tresor_".length) as keyof typeof abi.Op
    assert.ok(!served.has(name))
    const request = new Request(struct, 0, addressOf)
    assert.equal(vectors.native.enter(request.fill(abi.Op[name], {})), abi.Status.request, name)
  }
  assert.equal(Object.keys(abi.Op).length, served.size + 18)
})

test("with policy mrenclave another image is named, and the same one signed anew opens", async () => {
  const header = await sealedBy({ isvSvn: 2 }, "mrenclave")
  await refused({ isvSvn: 2, changed: true }, header, "ENCLAVE_SEAL_ENCLAVE")
  const key = testKey(1)
  await opens({ isvSvn: 2, key }, header)
})

test("the other backend is named, in both directions", async () => {
  const hardware = await sealedBy({ isvSvn: 2 })
  const onSoftware = () => startImage(createEnclave, "software", released({ isvSvn: 2 }))
  {
    await using client = await onSoftware()
    await assert.rejects(unlock(client, hardware), { code: "ENCLAVE_SEAL_BACKEND", exitCode: 2 })
  }
  await using client = await onSoftware()
  await refused({ isvSvn: 2 }, await makeHeader(client, SEALED), "ENCLAVE_SEAL_BACKEND")
})
