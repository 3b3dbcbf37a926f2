/** Power failures in the middle of a reencryption: every sector is whole under one key, and it goes on to its end. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { TresorError } from "../base/errors.ts"
import { HeaderStore } from "../header/header-store.ts"
import { dropKeyslot, volumeSlots } from "../keyslots/metadata-edit.ts"
import type { FreshKeyslot, VolumeKeeper } from "../keyslots/parts.ts"
import { proveKeyslot } from "../keyslots/prove.ts"
import { runReencryption } from "../library/reencrypt.ts"
import type { Metadata } from "../luks2/metadata.ts"
import { PASS_TOKEN, reencryptionOf } from "../luks2/reencryption.ts"
import { withState } from "../luks2/reencryption-header.ts"
import { placed, positionOf } from "../luks2/reencryption-position.ts"
import type { Kdf } from "../luks2/types.ts"
import { Crash, CrashingStore } from "../testing/crashing-store.ts"
import { FakeEnclave, fakeCipher } from "../testing/fake-enclave.ts"
import { FaultyStore } from "../testing/faulty-store.ts"
import { afterCut, powerCuts } from "../testing/power-cut.ts"
import { FULL, runs } from "../testing/runs.ts"
import { keyOf, makeSmall, portable, SMALL_OFFSET } from "../testing/small-volume.ts"
import { resumePass } from "./resume.ts"
import { type NewKey, startPass } from "./start.ts"

const DATA_OFFSET = SMALL_OFFSET
const VOLUME = 48 << 10
const ZONE = 8 << 10
const KDF: Kdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 }
const SECRET = new TextEncoder().encode("a passphrase")
const OTHER = new TextEncoder().encode("another one")

const sealed = (secret: Uint8Array): FreshKeyslot => ({
  type: "tresor",
  secret,
  slot: null,
  kdf: KDF,
  policy: "mrsigner",
})

const enclave = new FakeEnclave()
const plain = new Uint8Array(randomBytes(VOLUME))

function keeperOf(store: HeaderStore): VolumeKeeper {
  return { enclave, seal: enclave.seal, store, path: "disk.img" }
}

/** A small volume with one keyslot. */
async function image(): Promise<Uint8Array> {
  const device = new CrashingStore(DATA_OFFSET + VOLUME)
  const store = await makeSmall(enclave, enclave.seal, device, SECRET, { keySize: 32, sectorSize: 512 })
  await device.write(DATA_OFFSET, fakeCipher(await keyOf(enclave, store, SECRET), 0, plain))
  return device.bytes
}

const NEVER = { stop: () => false, progress: async () => {}, hotZone: ZONE }

async function reencrypt(device: CrashingStore, key: NewKey): Promise<void> {
  const store = await HeaderStore.open(device)
  const place = { store, data: device, path: "disk.img" }
  if (reencryptionOf(store.header.metadata) === null) {
    await startPass(keeperOf(store), place, { secret: SECRET, slot: null }, key)
  }
  const { done } = await resumePass(keeperOf(store), place, { ...NEVER, secret: SECRET, vouched: false })
  assert.ok(done)
}

async function checkWhole(device: CrashingStore, oldKey: Uint8Array): Promise<void> {
  const store = await HeaderStore.open(device)
  const key = await keyOf(enclave, store, SECRET)
  assert.notDeepEqual(key, oldKey)
  const cipher = device.bytes.slice(DATA_OFFSET)
  assert.ok(Buffer.compare(fakeCipher(key, 0, cipher), plain) === 0, "the plaintext is another")
  const { metadata } = store.header
  assert.equal(reencryptionOf(metadata), null)
  assert.deepEqual([metadata.segments.size, metadata.digests.size, metadata.config.requirements], [1, 1, []])
}

const KEYS: Readonly<Record<string, NewKey>> = {
  checksum: { keyslots: [sealed(SECRET), portable(OTHER)], resilience: "checksum", sectorSize: null, keySize: null },
  journal: { keyslots: [portable(SECRET)], resilience: "journal", sectorSize: null, keySize: null },
}

/** Runs until it ends or the power fails; whether it ended. */
async function until(device: CrashingStore, key: NewKey): Promise<boolean> {
  try {
    await reencrypt(device, key)
    return true
  } catch (error) {
    if (error instanceof Crash) return false
    throw error
  }
}

for (const [name, key] of Object.entries(KEYS)) {
  test(`${name}: cut off anywhere, even while it recovers, it loses nothing and goes on`, async () => {
    const bytes = await image()
    const whole = new CrashingStore(bytes.slice())
    const oldKey = await keyOf(enclave, await HeaderStore.open(whole), SECRET)
    await reencrypt(whole, key)
    await checkWhole(whole, oldKey)
    const { steps } = whole
    assert.ok(steps > 60, `${steps} steps`)
    await fc.assert(
      fc.asyncProperty(powerCuts(steps), async (cuts) => {
        let device = new CrashingStore(bytes.slice())
        for (const cut of cuts) {
          device.crashAt(cut.step)
          if (await until(device, key)) break
          device = afterCut(device, cut)
          // The passphrase opens what there is: the old volume, the one under way by both keys, or the new.
          const store = await HeaderStore.open(device)
          const found = reencryptionOf(store.header.metadata)
          if (found === null) await proveKeyslot(keeperOf(store), { secret: SECRET, slot: null })
          else assert.notEqual(typeof positionOf(store.header.metadata, found), "string")
        }
        if (
          reencryptionOf((await HeaderStore.open(device)).header.metadata) !== null ||
          (await isOld(device, oldKey))
        ) {
          await reencrypt(device, key)
        }
        await checkWhole(device, oldKey)
      }),
      { numRuns: runs(500, 8) },
    )
    assert.equal(enclave.open, 0)
  })
}

async function isOld(device: CrashingStore, oldKey: Uint8Array): Promise<boolean> {
  return Buffer.compare(await keyOf(enclave, await HeaderStore.open(device), SECRET), oldKey) === 0
}

/** Between two zones, with `zones` of them done. */
async function paused(zones: number, key = KEYS["checksum"]!): Promise<CrashingStore> {
  const device = new CrashingStore(await image())
  const store = await HeaderStore.open(device)
  const place = { store, data: device, path: "disk.img" }
  await startPass(keeperOf(store), place, { secret: SECRET, slot: null }, key)
  let done = 0
  const options = { ...NEVER, secret: SECRET, vouched: false, stop: () => done === zones }
  const progress = async () => {
    done++
  }
  const ended = await resumePass(keeperOf(store), place, { ...options, progress })
  assert.equal(ended.done, false)
  return device
}

async function resumed(
  device: CrashingStore,
  options: { readonly vouched?: boolean; readonly secret?: Uint8Array } = {},
) {
  const store = await HeaderStore.open(device)
  const place = { store, data: device, path: "disk.img" }
  return resumePass(keeperOf(store), place, { ...NEVER, secret: SECRET, vouched: false, ...options })
}

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof TresorError, String(error))
  assert.equal(error.code, expected)
  return true
}

test("a paused reencryption is a valid header, and is resumed with any passphrase that was carried over", async () => {
  const device = await paused(2)
  const store = await HeaderStore.open(device)
  const { metadata } = store.header
  const found = reencryptionOf(metadata)!
  assert.deepEqual(positionOf(metadata, found), { position: BigInt(2 * ZONE), hot: 0n, done: false })
  assert.deepEqual(metadata.config.requirements, ["online-reencrypt-v2"])
  await assert.rejects(resumed(device, { secret: OTHER }), code("ENCLAVE_PASSPHRASE"))
  const { done, dropped } = await resumed(device)
  assert.deepEqual([done, dropped], [true, [0]])
  const after = await HeaderStore.open(device)
  assert.deepEqual(volumeSlots(after.header.metadata), [1, 2])
  await proveKeyslot(keeperOf(after), { secret: OTHER, slot: 2 })
  await assert.rejects(resumed(device), code("REENCRYPT_NONE"))
})

test("an older header over newer data is refused, and nothing is written", async () => {
  const early = await paused(1)
  const head = early.bytes.slice(0, DATA_OFFSET)
  let done = 0
  const store = await HeaderStore.open(early)
  const place = { store, data: early, path: "disk.img" }
  const progress = async () => {
    done++
  }
  await resumePass(keeperOf(store), place, {
    ...NEVER,
    secret: SECRET,
    vouched: false,
    stop: () => done === 2,
    progress,
  })
  early.bytes.set(head)
  const before = early.bytes.slice()
  await assert.rejects(resumed(early), code("REENCRYPT_ROLLED_BACK"))
  assert.ok(Buffer.compare(early.bytes, before) === 0)
})

test("a header whose boundary was moved is refused, and so is one without its state's MAC", async () => {
  for (const moved of [ZONE, -ZONE]) {
    const device = await paused(2)
    const store = await HeaderStore.open(device)
    await store.update(
      async (header) => {
        const found = reencryptionOf(header.metadata)!
        const position = BigInt(2 * ZONE + moved)
        const metadata = placed(header.metadata, found, { position, hot: 0n }, BigInt(VOLUME))
        const sector = device.bytes.slice(DATA_OFFSET + Number(position), DATA_OFFSET + Number(position) + 512)
        const { createHash } = await import("node:crypto")
        const probe = new Uint8Array(createHash("sha256").update(sector).digest())
        return { header: { ...header, metadata: withState(metadata, { ...found.state!, probe }) } }
      },
      { reencrypts: true },
    )
    await assert.rejects(resumed(device), code("ENCLAVE_HEADER"))
  }
  const device = await paused(2)
  const store = await HeaderStore.open(device)
  await store.update(
    async (header) => {
      const tokens = [...header.metadata.tokens].filter(([, { type }]) => type !== "tresor-reencrypt")
      return { header: { ...header, metadata: { ...header.metadata, tokens: new Map(tokens) } } }
    },
    { reencrypts: true },
  )
  await assert.rejects(resumed(device), code("REENCRYPT_UNAUTHENTICATED"))
  assert.equal((await resumed(device, { vouched: true })).done, true)
})

test("a device of another size is refused before anything is written", async () => {
  const device = await paused(2)
  const longer = new CrashingStore(new Uint8Array(device.size + 4096))
  longer.bytes.set(device.bytes)
  await assert.rejects(resumed(longer), code("REENCRYPT_UNFIT"))
  const shorter = new CrashingStore(device.bytes.slice(0, DATA_OFFSET + ZONE))
  await assert.rejects(resumed(shorter), code("REENCRYPT_UNFIT"))
  assert.deepEqual([longer.steps, shorter.steps], [0, 0])
})

/** A header changed without the enclave, as another program does it. */
async function edited(device: CrashingStore, change: (metadata: Metadata) => Metadata): Promise<void> {
  const store = await HeaderStore.open(device)
  await store.update(async (header) => ({ header: { ...header, metadata: change(header.metadata) } }), {
    reencrypts: true,
  })
}

/** All data under the new key and a header that cryptsetup was cut off in, with the old keyslot or without. */
async function endedByOthers(key: NewKey, oldSlot: boolean): Promise<CrashingStore> {
  const device = await paused(0, key)
  const before = (await HeaderStore.open(device)).header.metadata
  const converted = new CrashingStore(device.bytes.slice())
  await resumed(converted)
  device.bytes.set(converted.bytes.subarray(DATA_OFFSET), DATA_OFFSET)
  await edited(device, (metadata) => {
    const found = reencryptionOf(before)!
    const all = placed(metadata, found, { position: BigInt(VOLUME), hot: 0n }, BigInt(VOLUME))
    const segments = new Map([...all.segments].map(([n, each]) => [n, n === 0 ? { ...each, size: null } : each]))
    const tokens = new Map([...all.tokens].filter(([, { type }]) => type !== PASS_TOKEN))
    const done = { ...all, segments, tokens }
    return oldSlot ? done : dropKeyslot(done, 0)
  })
  return device
}

test("what cryptsetup leaves after the last zone is ended, not converted again, whether or not the old keyslot is there", async () => {
  for (const oldSlot of [true, false]) {
    const device = await endedByOthers(KEYS["journal"]!, oldSlot)
    await assert.rejects(resumed(device, { secret: OTHER }), code("ENCLAVE_PASSPHRASE"))
    const { done, dropped } = await resumed(device)
    assert.deepEqual([done, dropped], [true, oldSlot ? [0] : []])
    await checkWhole(device, new Uint8Array(32))
  }
  // With a Tresor passphrase there is something to compare with, and this is nothing that Tresor writes.
  const device = await endedByOthers(KEYS["checksum"]!, true)
  await assert.rejects(resumed(device), code("REENCRYPT_UNAUTHENTICATED"))
  assert.equal((await resumed(device, { vouched: true })).done, true)
  await checkWhole(device, new Uint8Array(32))
})

for (const kind of ["read", "write", "flush"] as const) {
  test(`a ${kind} that fails stops it with one line, and later it goes on`, async () => {
    const key = KEYS["checksum"]!
    const fresh = await paused(0)
    const bytes = fresh.bytes.slice()
    const oldKey = new Uint8Array(32)
    let failures = 0
    // Until the pass ends before it comes to that one: how many there are depends on which of them meet.
    for (let number = 0; ; number += FULL ? 1 : 9) {
      const device = new FaultyStore(bytes.slice())
      const store = await HeaderStore.open(device)
      const volume = { ...keeperOf(store), place: { store, data: device, path: "disk.img" } }
      const words = {
        secret: SECRET,
        vouched: false,
        hotZone: ZONE,
        throttle: 0,
        stop: () => false,
        progress: () => {},
      }
      device.fail({ kind, number })
      const stopped = await runReencryption(volume, words).then(
        () => null,
        (error: unknown) => error,
      )
      if (!device.failed) {
        assert.equal(stopped, null)
        break
      }
      failures++
      assert.ok(stopped instanceof TresorError, String(stopped))
      assert.equal(stopped.code, "REENCRYPT_STOPPED")
      assert.match(
        stopped.message,
        new RegExp(`^The reencryption of disk.img stopped: a ${kind} failed; nothing is lost`),
      )
      const again = new CrashingStore(device.bytes.slice())
      await reencrypt(again, key)
      await checkWhole(again, oldKey)
      assert.equal(enclave.open, 0)
    }
    assert.ok(failures > 1, `${failures} failures`)
  })
}
