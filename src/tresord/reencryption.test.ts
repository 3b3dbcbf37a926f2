/**
 * A reencryption of an open volume whose enclave is lost in a zone: the real image on the hardware backend, a made-up
 * driver, and the client's part as the command line takes it, over a socket.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { ControlClient } from "../control/client.ts"
import { askVolume, type FirstContact } from "../control/enclave.ts"
import { ControlServer } from "../control/server.ts"
import { enterWith, unlockWith } from "../control/unlock.ts"
import { VolumeClient } from "../control/volume-client.ts"
import type { OpenHeader } from "../header/access.ts"
import { HeaderStore } from "../header/header-store.ts"
import { areasOf } from "../header/side.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { positionOf } from "../luks2/reencryption-position.ts"
import { enclaveHeader } from "../luks2/volume-header.ts"
import { startPass } from "../reencrypt/start.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { createFake, fake } from "../testing/fake-sgx.ts"
import { passphrase, seal, startImage } from "../testing/real-image.ts"
import { SESSION_PARTS } from "../testing/session-parts.ts"
import { makeSmall, portable, SMALL_OFFSET, SMALL_UUID } from "../testing/small-volume.ts"
import { Volume } from "../volume/volume.ts"
import { Reencryption } from "./reencryption.ts"
import { refusal, volumeInterface } from "./service.ts"
import { Session } from "./session.ts"

const SIZE = 256 << 10
const ZONE = 32 << 10

const folder = mkdtempSync(join(tmpdir(), "tresor-reencryption-"))
process.env["XDG_CONFIG_HOME"] = folder
after(() => rmSync(folder, { recursive: true, force: true }))
let sockets = 0

class WatchedStore extends MemoryStore {
  onWrite: (offset: number) => void = () => {}
  /** What a write waits for. */
  hold: (offset: number) => Promise<void> | null = () => null
  held = 0

  override async write(offset: number, from: Uint8Array): Promise<void> {
    const wait = this.hold(offset)
    if (wait !== null) this.held++
    await wait
    await super.write(offset, from)
    this.onWrite(offset)
  }
}

async function make() {
  const start = () => startImage(createFake, "sgx")
  const enclave = await start()
  const store = new WatchedStore(new Uint8Array(SMALL_OFFSET + SIZE))
  const sealer: Parameters<typeof makeSmall>[1] = (asked, secrets) => seal(enclave, asked, secrets)
  await makeSmall(enclave, sealer, store, passphrase, { keySize: 64, sectorSize: 4096 })
  const volume = new Volume({ store, offset: SMALL_OFFSET, size: null, sectorSize: 4096 })
  const use: OpenHeader["use"] = async (work) => work(await HeaderStore.open(store))
  const read = () =>
    use(async (opened) => enclaveHeader(opened.header, await areasOf(opened, opened.header), () => true))
  const warnings: string[] = []
  const warn = (message: string) => void warnings.push(message)
  const inUse = {
    ciphertext: volume.ciphertext,
    readOnly: false,
    quiesce: (from: number, to: number) => volume.quiesce(from, to),
  }
  const session = new Session({
    ...SESSION_PARTS,
    header: { uuid: SMALL_UUID, label: "", read, saveSealed: async () => {} },
    volume,
    reencryption: new Reencryption({
      name: "work",
      path: "/disk.img",
      header: { use },
      volume: inUse,
      requests: () => 0,
      warn,
    }),
    enclave,
    openEnclave: start,
    warn,
  })
  const socket = join(folder, `${++sockets}.sock`)
  const server = await ControlServer.listen({
    listen: { path: socket },
    info: { vendor: "", product: "", version: "", url: "" },
    interfaces: [volumeInterface(session, async () => {})],
    translate: refusal,
  })
  const asked = async <T>(
    ask: (contact: Omit<FirstContact, "enclave"> & { client: VolumeClient; enclave: TrustedEnclave }) => Promise<T>,
  ) => {
    using client = new VolumeClient(await ControlClient.connect(socket), "work")
    const { enclave, status } = await askVolume(client)
    const trusted = await TrustedEnclave.assess(enclave, { startedHere: true }, { own: enclave.identity })
    return await ask({ client, status, enclave: trusted })
  }
  const setkey = (secret: Uint8Array = passphrase) =>
    asked((contact) =>
      unlockWith(contact, secret, { keySlot: null, unsealed: true, legacy: false, host: null, tell: () => {} }),
    )
  const goOn = (secret: Uint8Array = passphrase, throttle = 0) =>
    asked((contact) =>
      enterWith(contact, secret, { goOn: { hotZone: ZONE, throttle }, vouched: false, unsealed: true }),
    )
  /** As the command begins it, with an enclave of its own. */
  const begin = async () => {
    await using own = await start()
    const opened = await HeaderStore.open(store)
    const keeper = {
      enclave: own,
      seal: (...words: Parameters<typeof sealer>) => seal(own, ...words),
      store: opened,
      path: "/disk.img",
    }
    const key = { keyslots: [portable(passphrase)], resilience: "checksum", sectorSize: null, keySize: null } as const
    const place = { store: opened, data: store, path: "/disk.img", inUse: true }
    await startPass(keeper, place, { secret: passphrase, slot: null }, key)
  }
  const where = () =>
    use(async ({ header: { metadata } }) => {
      const found = reencryptionOf(metadata)
      return found === null ? null : positionOf(metadata, found)
    })
  const end = async () => {
    await server.close()
    await session.close()
    assert.equal(fake.counters().open, 0, "a device was left open")
  }
  return { session, volume, store, setkey, goOn, begin, where, end, warnings }
}

/** Until its status is one of these. */
async function settled(session: Session, ...states: readonly (string | null)[]): Promise<void> {
  while (!states.includes(session.status().reencryption?.state ?? null)) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test("an enclave that is lost in a zone: I/O waits, the passphrase recovers the zone, and the pass goes on", async () => {
  const { session, volume, store, setkey, goOn, begin, where, end, warnings } = await make()
  await setkey()
  const before = randomBytes(SIZE)
  await volume.write(0, before)
  await begin()
  // In the third zone, after its first sectors were written.
  store.onWrite = (offset) => {
    if (offset !== SMALL_OFFSET + 2 * ZONE) return
    store.onWrite = () => {}
    fake.lose()
  }
  await goOn()
  await settled(session, "stopped")
  assert.equal(session.status().state, "locked")
  assert.deepEqual(await where(), { position: BigInt(2 * ZONE), hot: BigInt(ZONE), done: false })
  assert.deepEqual(warnings, ["the reencryption stopped"])
  const waiting = volume.read(0, SIZE)
  await setkey()
  assert.deepEqual(await waiting, before)
  assert.deepEqual(await where(), { position: BigInt(3 * ZONE), hot: 0n, done: false })
  assert.equal(session.status().reencryption?.state, "paused")
  await goOn()
  await settled(session, null)
  assert.deepEqual(await volume.read(0, SIZE), before)
  assert.equal(await where(), null)
  await session.lock()
  await setkey()
  assert.deepEqual(await volume.read(0, SIZE), before)
  await end()
})

test("a disk's error stops it in a zone: all else is served, status says why, and it goes on", async () => {
  const { session, volume, store, setkey, goOn, begin, where, end } = await make()
  await setkey()
  const before = randomBytes(SIZE)
  await volume.write(0, before)
  await begin()
  store.onWrite = (offset) => {
    if (offset !== SMALL_OFFSET + 2 * ZONE) return
    store.onWrite = () => {}
    throw new IoError("EIO", "the disk failed")
  }
  await goOn()
  await settled(session, "stopped")
  const { state, reencryption } = session.status()
  assert.equal(state, "unlocked")
  assert.deepEqual(reencryption, { state: "stopped", done: 2 * ZONE, total: SIZE, error: "the disk failed" })
  assert.deepEqual(await volume.read(0, 2 * ZONE), before.subarray(0, 2 * ZONE))
  assert.deepEqual(await volume.read(3 * ZONE, SIZE - 3 * ZONE), before.subarray(3 * ZONE))
  await assert.rejects(volume.read(2 * ZONE, 4096), { code: "EIO" })
  await goOn()
  await settled(session, null)
  assert.deepEqual(await volume.read(0, SIZE), before)
  assert.equal(await where(), null)
  await end()
})

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof TresorError, String(error))
  assert.equal(error.code, expected)
  return true
}

test("one that was begun and not told of is found at the next passphrase; a wrong one changes nothing", async () => {
  const { session, volume, setkey, goOn, begin, where, end } = await make()
  await setkey()
  const before = randomBytes(SIZE)
  await volume.write(0, before)
  await assert.rejects(goOn(), code("REENCRYPT_NONE"))
  await begin()
  assert.equal(session.status().reencryption, null)
  await session.lock()
  await assert.rejects(setkey(Buffer.from("another")), code("ENCLAVE_PASSPHRASE"))
  assert.equal(session.status().state, "locked")
  await setkey()
  assert.equal(session.status().reencryption?.state, "paused")
  assert.deepEqual(await volume.read(0, SIZE), before)
  await assert.rejects(goOn(Buffer.from("another")), code("ENCLAVE_PASSPHRASE"))
  assert.deepEqual(await where(), { position: 0n, hot: 0n, done: false })
  await end()
})

test("a zone that a disk keeps for ever does not keep the keys: lock wipes them, and the zone is recovered later", async () => {
  const { session, volume, store, setkey, goOn, begin, where, end } = await make()
  await setkey()
  const before = randomBytes(SIZE)
  await volume.write(0, before)
  await begin()
  let answer!: () => void
  const answered = new Promise<void>((resolve) => (answer = resolve))
  store.hold = (offset) => (offset === SMALL_OFFSET + ZONE ? answered : null)
  await goOn()
  await settled(session, "running")
  while (store.held === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await session.lock()
  assert.equal(session.status().state, "locked")
  answer()
  await settled(session, "stopped")
  store.hold = () => null
  await setkey()
  assert.deepEqual(await where(), { position: BigInt(2 * ZONE), hot: 0n, done: false })
  assert.deepEqual(await volume.read(0, SIZE), before)
  await end()
})

test("one runs at a time; lock and close pause it at the end of a zone", async () => {
  const { session, volume, setkey, goOn, begin, where, end } = await make()
  await setkey()
  const before = randomBytes(SIZE)
  await volume.write(0, before)
  await begin()
  // One zone in ten minutes: it waits before the second one.
  await goOn(passphrase, 50)
  await settled(session, "running")
  await assert.rejects(goOn(), code("REENCRYPT_BUSY"))
  await session.lock()
  const found = await where()
  assert.ok(found !== null && typeof found !== "string" && found.hot === 0n)
  assert.equal(session.status().reencryption?.state, "paused")
  await setkey()
  assert.deepEqual(await volume.read(0, SIZE), before)
  await end()
})
