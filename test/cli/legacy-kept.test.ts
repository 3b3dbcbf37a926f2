/**
 * setkey --legacy after an upgrade: the kept image that sealed the record gets the passphrase. The daemon's parts run in
 * this process, because tresord --legacy ends at once where there is no tresor.ko; test/vm has that with this image.
 */
import assert from "node:assert/strict"
import { renameSync } from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { claimName, releaseName } from "../../src/control/runtime.ts"
import { ControlServer } from "../../src/control/server.ts"
import { keepImage, keptImages } from "../../src/enclave/kept-images.ts"
import { openPredecessor } from "../../src/enclave/loader.ts"
import type { SetkeyEvent } from "../../src/mapping/attach.ts"
import { FakeLegacyRing } from "../../src/testing/fake-legacy-ring.ts"
import { anotherBuild } from "../../src/testing/real-image.ts"
import { LegacyService } from "../../src/tresord/legacy.ts"
import { enclaveOf } from "../../src/tresord/legacy-start.ts"
import { refusal, volumeInterface } from "../../src/tresord/service.ts"
import { Place } from "./harness.ts"

let end = async (): Promise<void> => {}
// Before Place closes by their names what its commands opened: that would wait for this process to end.
after(() => end())
const place = new Place()
const state = place.env["TRESOR_STATE_DIR"]!
const record = place.file("legacy.json", "")
const keyFile = place.file("key", "a passphrase of 2016")
const SETKEY: SetkeyEvent = { type: "setkey", id: 7n, mode: "xts", size: 32, bytes: null }
const IDENTITY = {
  uuid: "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11",
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
} as const

let kept = ""
const ring = new FakeLegacyRing()
const { log } = ring

before(async () => {
  process.env["TRESOR_STATE_DIR"] = state
  keepImage(state, anotherBuild())
  const [image] = keptImages([state])
  kept = image!.mrenclave
  const { sealed } = await (async () => {
    await using before = await openPredecessor(image!, { backend: "software" })
    const secret = Buffer.from("any")
    const made = await before!.legacy({ ...IDENTITY, mode: "xts", keySize: 32, secret, salt: { make: "mrenclave" } })
    before!.closeVolume(made.handle)
    return made
  })()
  const service = new LegacyService({
    name: "legacy",
    path: record,
    record: { ...IDENTITY, sealed },
    saveRecord: () => log.push("saved"),
    enclave: await enclaveOf({ ...IDENTITY, sealed }, { path: record, backend: "software" }),
    sealPolicy: "mrenclave",
    sealedOnly: true,
    attach: ring.attach,
    warn: (message) => log.push(`warn: ${message}`),
    onLost: () => log.push("lost"),
  })
  log.length = 0
  const paths = claimName(place.runtime, "legacy", record, false)
  const server = await ControlServer.listen({
    listen: { path: paths.control },
    info: { vendor: "Tresor", product: "tresord", version: "0", url: "" },
    interfaces: [volumeInterface(service, async () => {})],
    admit: () => true,
    translate: refusal,
  })
  end = async () => {
    await server.close()
    releaseName(place.runtime, "legacy")
    await service.close()
  }
})
const setkey = () => place.tresor(["setkey", "legacy", "--legacy", "--key-file", keyFile])

test("the kept image gets the passphrase, and serves the mapping that waited", async () => {
  const status = JSON.parse((await place.tresor(["status", "legacy", "--json"])).stdout)
  assert.equal(status.enclave.mrenclave, kept)
  const own = JSON.parse((await place.tresor(["enclave", "info", "--json"])).stdout)
  assert.notEqual(own.mrenclave, kept)

  ring.ask(SETKEY)
  const { code, stderr } = await setkey()
  assert.equal(code, 0, stderr)
  assert.match(log.join(", "), /^hold 7, release 7 \d+$/)
})

test("an image that is not kept here is nobody's own: without a terminal it is refused", async () => {
  log.length = 0
  const folder = join(state, "enclaves")
  renameSync(folder, `${folder}.aside`)
  const { code, stderr } = await setkey()
  renameSync(`${folder}.aside`, folder)
  assert.notEqual(code, 0)
  assert.match(stderr, new RegExp(kept.slice(0, 16)))
  assert.deepEqual(log, [])
})
