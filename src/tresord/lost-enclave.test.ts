/**
 * A volume whose enclave loses its memory, as in a suspend: the real image on the hardware backend, a made-up driver,
 * and the client's part as the command line takes it, over a socket.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, afterEach, test } from "node:test"
import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { ControlClient } from "../control/client.ts"
import { askVolume } from "../control/enclave.ts"
import { ControlServer } from "../control/server.ts"
import { unlockWith } from "../control/unlock.ts"
import { VolumeClient } from "../control/volume-client.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { createFake, fake } from "../testing/fake-sgx.ts"
import { makeVolume, startImage, UUID } from "../testing/real-image.ts"
import { SESSION_PARTS } from "../testing/session-parts.ts"
import { Volume } from "../volume/volume.ts"
import { refusal, volumeInterface } from "./service.ts"
import { Session } from "./session.ts"

const OFFSET = 16 << 20
const passphrase = Buffer.from("a typed passphrase")

const folder = mkdtempSync(join(tmpdir(), "tresor-lost-"))
process.env["XDG_CONFIG_HOME"] = folder
after(() => rmSync(folder, { recursive: true, force: true }))
let sockets = 0

afterEach(() => assert.equal(fake.counters().open, 0, "a device was left open"))

async function make(keyGraceMs: number | null) {
  const start = () => startImage(createFake, "sgx")
  const enclave = await start()
  const { header } = await makeVolume(enclave)
  const store = new MemoryStore(new Uint8Array(OFFSET + 65536))
  const volume = new Volume({ store, offset: OFFSET, size: null, sectorSize: 4096, keyGraceMs })
  const session = new Session({
    ...SESSION_PARTS,
    header: { uuid: UUID, label: "", read: async () => header, saveSealed: async () => {} },
    volume,
    enclave,
    openEnclave: start,
    warn: () => {},
  })
  const socket = join(folder, `${++sockets}.sock`)
  const server = await ControlServer.listen({
    listen: { path: socket },
    info: { vendor: "", product: "", version: "", url: "" },
    interfaces: [volumeInterface(session, async () => {})],
    translate: refusal,
  })
  const setkey = async () => {
    using client = new VolumeClient(await ControlClient.connect(socket), "work")
    const contact = await askVolume(client)
    const enclave = await TrustedEnclave.assess(
      contact.enclave,
      { startedHere: true },
      { own: contact.enclave.identity },
    )
    const request = { keySlot: null, unsealed: true, legacy: false, host: null, tell: () => {} }
    return await unlockWith({ client, enclave, status: contact.status }, passphrase, request)
  }
  const end = async () => {
    await server.close()
    await session.close()
  }
  return { session, volume, setkey, end }
}

test("I/O waits for the next passphrase, and nothing written is lost", async () => {
  const { session, volume, setkey, end } = await make(60_000)
  await setkey()
  const before = randomBytes(8192)
  await volume.write(0, before)
  fake.lose()
  const during = randomBytes(4096)
  let settled = 0
  const waiting = [volume.write(8192, during), volume.read(0, 8192)] as const
  for (const each of waiting) void each.finally(() => settled++)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(settled, 0)
  assert.equal(session.status().state, "locked")
  await setkey()
  await waiting[0]
  assert.deepEqual(await waiting[1], before)
  assert.deepEqual(await volume.read(8192, 4096), during)
  assert.equal(session.status().state, "unlocked")
  await end()
})

test("status finds out by itself", async () => {
  const { session, setkey, end } = await make(60_000)
  await setkey()
  assert.equal(session.status().state, "unlocked")
  fake.lose()
  assert.equal(session.status().state, "locked")
  await end()
})

test("a passphrase that comes before any I/O finds a new enclave", async () => {
  const { volume, setkey, end } = await make(60_000)
  await setkey()
  const data = randomBytes(4096)
  await volume.write(0, data)
  fake.lose()
  await setkey()
  assert.deepEqual(await volume.read(0, 4096), data)
  await end()
})

test("without a grace time I/O waits as long as it takes", async () => {
  const { session, volume, setkey, end } = await make(null)
  await setkey()
  const data = randomBytes(4096)
  await volume.write(0, data)
  fake.lose()
  const waiting = volume.read(0, 4096)
  assert.equal(await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 200, "waits"))]), "waits")
  assert.equal(session.status().state, "locked")
  await setkey()
  assert.deepEqual(await waiting, data)
  await end()
})

test("after its grace time I/O fails, and the passphrase revives the volume", async () => {
  const { session, volume, setkey, end } = await make(30)
  await setkey()
  const data = randomBytes(4096)
  await volume.write(0, data)
  fake.lose()
  // The grace time alone keeps no process alive; tresord's server does.
  const server = setTimeout(() => {}, 10_000)
  await assert.rejects(volume.read(0, 4096), { code: "EIO" })
  clearTimeout(server)
  assert.equal(session.status().state, "failed")
  await setkey()
  assert.deepEqual(await volume.read(0, 4096), data)
  await end()
})

test("lock and close take an enclave that is lost and has not been missed", async () => {
  for (const first of ["lock", "close"] as const) {
    const { session, setkey, end } = await make(60_000)
    await setkey()
    fake.lose()
    await session[first]()
    if (first === "lock") assert.equal(session.status().state, "locked")
    await end()
  }
})
