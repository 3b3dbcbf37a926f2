/** A volume whose enclave loses its memory, as in a suspend: the real image on the hardware backend, a made-up driver. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { afterEach, test } from "node:test"
import { decodePublicHeader } from "../enclave/marshal.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { createFake, fake } from "../testing/fake-sgx.ts"
import { makeVolume, seal, startImage, UUID } from "../testing/real-image.ts"
import { Volume } from "../volume/volume.ts"
import { Session } from "./session.ts"

const OFFSET = 16 << 20
const passphrase = Buffer.from("a typed passphrase")

afterEach(() => assert.equal(fake.counters().open, 0, "a device was left open"))

async function make(lossGraceMs: number) {
  const start = () => startImage(createFake, "sgx")
  const enclave = await start()
  const { header } = await makeVolume(enclave)
  const store = new MemoryStore(new Uint8Array(OFFSET + 65536))
  const volume = new Volume({ store, offset: OFFSET, size: null, sectorSize: 4096, lossGraceMs })
  const session = new Session({
    name: "work",
    path: "/disk.img",
    export: "nbd",
    uri: "nbd+unix:///?socket=/s",
    socket: "/s",
    header: { uuid: UUID, label: "", read: async () => header, saveSealed: async () => {} },
    volume,
    cipher: "aes-xts-plain64",
    keySize: 64,
    transitionCycles: 0,
    enclave,
    openEnclave: start,
    kept: { isKept: () => false, open: async () => null },
    stopServing: async () => {},
    warn: () => {},
  })
  const setkey = async () => {
    const { nonce, parameters } = await session.challenge("unlock", null)
    const asked = { purpose: "unlock", header: decodePublicHeader(parameters, UUID), slot: null } as const
    const { publicKey } = session.status().enclave
    const { bytes, context } = await seal({ identity: { publicKey }, challenge: async () => nonce }, asked, {
      existing: passphrase,
    })
    await session.unlock({ uuid: UUID, slot: null, unsealed: true, nonce, request: context.request, message: bytes })
  }
  return { session, volume, setkey }
}

test("I/O waits for the next passphrase, and nothing written is lost", async () => {
  const { session, volume, setkey } = await make(60_000)
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
  await session.close()
})

test("a passphrase that comes before any I/O finds a new enclave", async () => {
  const { session, volume, setkey } = await make(60_000)
  await setkey()
  const data = randomBytes(4096)
  await volume.write(0, data)
  fake.lose()
  await setkey()
  assert.deepEqual(await volume.read(0, 4096), data)
  await session.close()
})

test("after its grace time I/O fails, and the passphrase revives the volume", async () => {
  const { session, volume, setkey } = await make(30)
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
  await session.close()
})

test("lock and close take an enclave that is lost and has not been missed", async () => {
  for (const first of ["lock", "close"] as const) {
    const { session, setkey } = await make(60_000)
    await setkey()
    fake.lose()
    await session[first]()
    if (first === "lock") assert.equal(session.status().state, "locked")
    await session.close()
  }
})
