/** A volume sealed to one image opens in the next because its user says so to the first; the real image, both backends. */
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import type { Header } from "../luks2/types.ts"
import { createEnclave } from "../native/addon.ts"
import { BACKENDS, createFake, fake } from "../testing/fake-sgx.ts"
import {
  makeHeader,
  passphrase,
  type Release,
  released,
  SEALED_SLOT,
  seal,
  startImage,
  unlock,
} from "../testing/real-image.ts"
import { testKey } from "../testing/rsa-keys.ts"
import type { EnclaveClient } from "./client.ts"
import { introduce } from "./succession.ts"
import type { Successor } from "./types.ts"

afterEach(() => fake.configure({}))

const [before, now] = [testKey(0), testKey(1)]

/** As enclaves are that two machines built: no signer in common. */
const local = (release: Release): Release => ({ ...release, key: release.changed === true ? now : before })

const withSealed = (header: Header, sealed: Uint8Array): Header => ({
  ...header,
  keyslots: [{ ...header.keyslots[0]!, sealed }],
})

/** What the client does: names the successor, and seals its passphrase to the predecessor. */
async function bequeath(
  predecessor: EnclaveClient,
  header: Header,
  {
    named,
    shown,
    existing = passphrase,
    downgrade = false,
  }: {
    readonly named: string
    readonly shown: Successor
    readonly existing?: Uint8Array
    readonly downgrade?: boolean
  },
) {
  const asked = { purpose: "succeed", header, slot: null, successor: named, policy: "mrenclave", downgrade } as const
  const sealed = await seal(predecessor, asked, { existing })
  return predecessor.bequeath(sealed, header, shown, "mrenclave")
}

for (const { backend, create } of BACKENDS) {
  const start = (release: Release) => startImage(create, backend, released(local(release)))

  test(`${backend}: what the old enclave sealed opens in the new one, and no longer in the old`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
    await assert.rejects(unlock(fresh, header), { code: "ENCLAVE_SEAL_ENCLAVE" })

    const shown = await introduce(fresh, old)
    const { handover, slot } = await bequeath(old, header, { named: fresh.identity.mrenclave, shown })
    assert.equal(slot, 0)
    const moved = withSealed(header, await fresh.inherit(handover))
    const { handle, resealed, slotsChanged } = await unlock(fresh, moved)
    assert.deepEqual({ resealed, slotsChanged }, { resealed: null, slotsChanged: [] })
    fresh.closeVolume(handle)
    await assert.rejects(unlock(old, moved), { code: "ENCLAVE_SEAL_ENCLAVE" })
  })

  test(`${backend}: a wrong passphrase hands nothing over`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
    const shown = await introduce(fresh, old)
    const wrong = { named: fresh.identity.mrenclave, shown, existing: Buffer.from("wrong") }
    await assert.rejects(bequeath(old, header, wrong), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  })

  test(`${backend}: the host cannot put another enclave in the place of the one that was named`, async () => {
    await using old = await start({ isvSvn: 2 })
    await using fresh = await start({ isvSvn: 2, changed: true })
    await using again = await start({ isvSvn: 2, changed: true })
    const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
    const named = fresh.identity.mrenclave
    const code = { code: "ENCLAVE_SUCCESSOR", exitCode: 2 }
    const shown = await introduce(fresh, old)
    // A key that is not the reported one's.
    await assert.rejects(
      bequeath(old, header, { named, shown: { ...shown, publicKey: again.identity.publicKey } }),
      code,
    )
    // Another enclave, which the host would have named.
    const self = await introduce(old, old)
    await assert.rejects(bequeath(old, header, { named, shown: { ...self, mrenclave: named } }), code)
    await assert.rejects(bequeath(old, header, { named, shown: self }), { code: "ENCLAVE_MESSAGE" })
    // What was left for one start opens in no other, and in no other enclave.
    const { handover } = await bequeath(old, header, { named, shown })
    await assert.rejects(again.inherit(handover), { code: "ENCLAVE_MESSAGE" })
    await assert.rejects(old.inherit(handover), { code: "ENCLAVE_MESSAGE" })
  })

  test(`${backend}: an older successor is refused unless it is asked for`, async () => {
    await using old = await start({ isvSvn: 3 })
    await using older = await start({ isvSvn: 2, changed: true })
    const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
    const shown = await introduce(older, old)
    const named = older.identity.mrenclave
    await assert.rejects(bequeath(old, header, { named, shown }), { code: "ENCLAVE_SEAL_VERSION" })
    const { handover } = await bequeath(old, header, { named, shown, downgrade: true })
    const { handle } = await unlock(older, withSealed(header, await older.inherit(handover)))
    older.closeVolume(handle)
  })
}

test("an enclave of another backend is no successor", async () => {
  await using old = await startImage(createEnclave, "software", released(local({ isvSvn: 2 })))
  await using fresh = await startImage(createFake, "sgx", released(local({ isvSvn: 2, changed: true })))
  const header = await makeHeader(old, SEALED_SLOT, "mrenclave")
  const shown = await introduce(fresh, old)
  const named = fresh.identity.mrenclave
  await assert.rejects(bequeath(old, header, { named, shown }), { code: "ENCLAVE_SUCCESSOR" })
})
