/** Which enclave serves a record of 2016's flow: the one that sealed it, also after an upgrade. */
import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { keepImage, keptImages } from "../enclave/kept-images.ts"
import { openEnclave, openPredecessor } from "../enclave/loader.ts"
import type { Enclave } from "../enclave/types.ts"
import type { LegacyRecord } from "../mapping/record.ts"
import { anotherBuild } from "../testing/real-image.ts"
import { enclaveOf } from "./legacy-start.ts"

const state = mkdtempSync(join(tmpdir(), "tresor-legacy-"))
after(() => rmSync(state, { recursive: true, force: true }))
before(() => {
  process.env["TRESOR_STATE_DIR"] = state
})

const AT = { path: "/record", backend: "software" } as const
const UUID = "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11"
const KDF = { type: "pbkdf2", hash: "sha256", iterations: 1000 } as const
const ASKED = { uuid: UUID, mode: "xts", keySize: 32, kdf: KDF, secret: Buffer.from("a hash of 2016") } as const

async function recordOf(enclave: Enclave): Promise<LegacyRecord> {
  const { handle, sealed } = await enclave.legacy({ ...ASKED, salt: { make: "mrenclave" } })
  enclave.closeVolume(handle)
  return { uuid: UUID, kdf: KDF, sealed }
}

test("a new record, and one of this image, are served by this image", async () => {
  await using ours = await openEnclave({ backend: "software" })
  for (const record of [{ uuid: UUID, kdf: KDF, sealed: null }, await recordOf(ours)]) {
    await using serving = await enclaveOf(record, AT)
    assert.equal(serving.identity.mrenclave, ours.identity.mrenclave)
  }
})

test("after an upgrade the image that sealed the record serves it, and without that image nobody does", async () => {
  const ours = await openEnclave({ backend: "software" })
  await ours.close()
  keepImage(state, anotherBuild())
  const kept = keptImages([state]).find(({ mrenclave }) => mrenclave !== ours.identity.mrenclave)!
  const record = await (async () => {
    await using old = await openPredecessor(kept, { backend: "software" })
    return await recordOf(old!)
  })()
  {
    await using serving = await enclaveOf(record, AT)
    assert.equal(serving.identity.mrenclave, kept.mrenclave)
    const { handle, sealed } = await serving.legacy({ ...ASKED, salt: { sealed: record.sealed! } })
    assert.deepEqual(sealed, record.sealed)
    serving.closeVolume(handle)
  }
  rmSync(kept.folder, { recursive: true })
  await assert.rejects(enclaveOf(record, AT), {
    code: "PREDECESSOR_MISSING",
    exitCode: 2,
    message: new RegExp(`Cannot serve /record: .*get ${kept.folder} back from a backup`),
  })
})
