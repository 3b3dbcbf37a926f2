/** Power failures while plaintext becomes a volume in place, or a volume plaintext: nothing is lost, and it goes on to its end. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { HeaderStore } from "../header/header-store.ts"
import { makeVolume, type NewVolume } from "../keyslots/create.ts"
import type { FreshKeyslot, VolumeKeeper } from "../keyslots/parts.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import type { Kdf } from "../luks2/types.ts"
import { checkRange, type Store } from "../store/store.ts"
import { Crash, CrashingStore } from "../testing/crashing-store.ts"
import { FakeEnclave, fakeCipher } from "../testing/fake-enclave.ts"
import { type Fault, FaultyStore } from "../testing/faulty-store.ts"
import { afterCut, powerCuts } from "../testing/power-cut.ts"
import { FULL, runs } from "../testing/runs.ts"
import { keyOf, portable, SMALL_UUID } from "../testing/small-volume.ts"
import { startDecryption } from "./decrypt.ts"
import { displace, mendDisplaced } from "./displace.ts"
import { makeEncryption } from "./encrypt.ts"
import { resumePass } from "./resume.ts"

const KDF: Kdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 }
const SECRET = new TextEncoder().encode("a passphrase")
const SHIFT = 384 << 10
/** Three zones with a shift, of which one is shorter than the others. */
const PLAIN = 3 * SHIFT - 4096
/** Beside a detached header; six zones. */
const SMALL = 48 << 10
const ZONE = 8 << 10
const NEVER = { stop: () => false, progress: async () => {}, hotZone: ZONE, secret: SECRET, vouched: false }

const KEYSLOTS: Readonly<Record<"portable" | "tresor", readonly [FreshKeyslot, ...FreshKeyslot[]]>> = {
  portable: [portable(SECRET)],
  tresor: [{ type: "tresor", secret: SECRET, slot: null, kdf: KDF, policy: "mrsigner" }],
}

const enclave = new FakeEnclave()
const keeper = { enclave, seal: enclave.seal, path: "disk.img" }
const plain = new Uint8Array(randomBytes(PLAIN))
const small = plain.slice(0, SMALL)

const volumeOf = (shift: number): NewVolume => ({
  uuid: SMALL_UUID,
  label: "",
  sectorSize: 512,
  keySize: 32,
  detached: shift === 0,
  headerSize: 16384,
  dataOffset: BigInt(shift || SHIFT),
})

/** A part of a device: header and data of one that crashes at once. */
class Part implements Store {
  readonly path = "part"
  readonly readOnly = false
  readonly discards = false
  readonly fd = null
  readonly size: number
  readonly #device: CrashingStore
  readonly #from: number

  constructor(device: CrashingStore, from: number, size: number) {
    this.#device = device
    this.#from = from
    this.size = size
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length)
    await this.#device.read(this.#from + offset, into)
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    checkRange(this.size, offset, from.length)
    await this.#device.write(this.#from + offset, from)
  }

  flush = (): Promise<void> => this.#device.flush()
  discard = async (): Promise<void> => {}
  refresh = async (): Promise<number> => this.size
  locked = <T>(_: "shared" | "exclusive", work: () => Promise<T>): Promise<T> => work()
  close = async (): Promise<void> => {}
}

const ENDS = SHIFT
const headerOf = (device: CrashingStore) => new Part(device, 0, ENDS)
const dataOf = (device: CrashingStore) => new Part(device, ENDS, device.size - ENDS)
const dataBytes = (device: CrashingStore) => device.bytes.slice(ENDS)

const openedKey = async (device: Store): Promise<Uint8Array> => keyOf(enclave, await HeaderStore.open(device), SECRET)

const hasHeader = (device: Store): Promise<boolean> =>
  HeaderStore.open(device).then(
    () => true,
    () => false,
  )

const pendingIn = async (device: Store) => reencryptionOf((await HeaderStore.open(device)).header.metadata)

async function keeperOf(device: Store): Promise<VolumeKeeper> {
  return { ...keeper, store: await HeaderStore.open(device) }
}

async function resume(header: Store, data: Store, options: Partial<typeof NEVER> = {}): Promise<{ done: boolean }> {
  const volume = await keeperOf(header)
  return resumePass(volume, { store: volume.store, data, path: "disk.img" }, { ...NEVER, ...options })
}

interface Kind {
  /** Before: plaintext, or a volume. */
  readonly make: () => Promise<Uint8Array>
  readonly begin: (device: CrashingStore) => Promise<void>
  /** Where the header and the data are. */
  readonly parts: (device: CrashingStore) => { readonly header: Store; readonly data: Store }
  readonly isWhole: (device: CrashingStore) => Promise<boolean>
  readonly hotZone?: number
}

function encryption(keyslots: "portable" | "tresor", resilience: "checksum" | "journal"): Kind {
  return {
    make: async () => new Uint8Array(Buffer.concat([new Uint8Array(ENDS), small])),
    begin: async (device) => {
      if (await hasHeader(headerOf(device))) return
      const wanted = { volume: volumeOf(0), keyslots: KEYSLOTS[keyslots], resilience }
      const { header, areas } = await makeEncryption(keeper, "disk.img", dataOf(device), wanted)
      await HeaderStore.format(headerOf(device), header, areas)
    },
    parts: (device) => ({ header: headerOf(device), data: dataOf(device) }),
    isWhole: async (device) => {
      const text = fakeCipher(await openedKey(headerOf(device)), 0, dataBytes(device))
      return Buffer.compare(text, small) === 0
    },
  }
}

const shifted: Kind = {
  make: async () => new Uint8Array(Buffer.concat([plain, randomBytes(2 * SHIFT)])),
  begin: async (device) => {
    if ((await mendDisplaced(device, SHIFT)) || (await hasHeader(device))) return
    const wanted = { volume: volumeOf(SHIFT), keyslots: KEYSLOTS.tresor, resilience: "checksum" } as const
    await displace(device, await makeEncryption(keeper, "disk.img", device, wanted), SHIFT)
  },
  parts: (device) => ({ header: device, data: device }),
  isWhole: async (device) => {
    const text = fakeCipher(await openedKey(device), 0, device.bytes.slice(SHIFT, SHIFT + PLAIN))
    return Buffer.compare(text, plain) === 0
  },
}

function decryption(keyslots: "portable" | "tresor", resilience: "checksum" | "journal"): Kind {
  return {
    make: async () => {
      const device = new CrashingStore(ENDS + SMALL)
      const { header, areas } = await makeVolume(keeper, volumeOf(0), KEYSLOTS[keyslots], "disk.img")
      await HeaderStore.format(headerOf(device), header, areas)
      await dataOf(device).write(0, fakeCipher(await openedKey(headerOf(device)), 0, small))
      return device.bytes
    },
    begin: async (device) => {
      const volume = await keeperOf(headerOf(device))
      if (reencryptionOf(volume.store.header.metadata) !== null) return
      const place = { store: volume.store, data: dataOf(device), path: "disk.img" }
      await startDecryption(volume, place, { secret: SECRET, slot: null }, { resilience, detached: true })
    },
    parts: (device) => ({ header: headerOf(device), data: dataOf(device) }),
    isWhole: async (device) => {
      const { metadata } = (await HeaderStore.open(headerOf(device))).header
      assert.deepEqual([metadata.keyslots.size, metadata.digests.size, metadata.tokens.size], [0, 0, 0])
      return Buffer.compare(dataBytes(device), small) === 0
    },
  }
}

/** The header was in front of the data, and was copied to a file of its own: the file is at the device's start. */
function fillsFront(keyslots: "portable" | "tresor", resilience: "checksum" | "journal"): Kind {
  const parts = (device: CrashingStore) => ({ header: headerOf(device), data: dataOf(device) })
  const { begin } = decryption(keyslots, resilience)
  return {
    make: async () => {
      const device = new CrashingStore(ENDS + SHIFT + PLAIN)
      const { header, areas } = await makeVolume(keeper, volumeOf(SHIFT), KEYSLOTS[keyslots], "disk.img")
      await HeaderStore.format(headerOf(device), header, areas)
      device.bytes.copyWithin(ENDS, 0, SHIFT)
      await dataOf(device).write(SHIFT, fakeCipher(await openedKey(headerOf(device)), 0, plain))
      return device.bytes
    },
    begin,
    parts,
    isWhole: async (device) => {
      const { metadata } = (await HeaderStore.open(headerOf(device))).header
      assert.deepEqual([metadata.keyslots.size, metadata.digests.size, metadata.tokens.size], [0, 0, 0])
      const bytes = dataBytes(device)
      return Buffer.compare(bytes.subarray(0, PLAIN), plain) === 0
    },
    hotZone: 128 << 10,
  }
}

const KINDS: Readonly<Record<string, Kind>> = {
  "encryption with a detached header, checksum": encryption("tresor", "checksum"),
  "encryption with a detached header, journal": encryption("portable", "journal"),
  "encryption with a shift of the data": shifted,
  "decryption, checksum": decryption("tresor", "checksum"),
  "decryption, journal": decryption("portable", "journal"),
  "decryption that fills the place of the header, checksum": fillsFront("tresor", "checksum"),
  "decryption that fills the place of the header, journal": fillsFront("portable", "journal"),
}

/** The end is a header of one segment, in which nothing speaks of a reencryption. */
async function isEnded({ parts }: Kind, device: CrashingStore): Promise<boolean> {
  const { header } = parts(device)
  if (!(await hasHeader(header))) return false
  const { metadata } = (await HeaderStore.open(header)).header
  const type = metadata.segments.get(0)!.type
  return (
    reencryptionOf(metadata) === null &&
    metadata.segments.size === 1 &&
    (type === "linear" || metadata.keyslots.size > 0)
  )
}

/** The command, given again until it ends. Whether it ended. */
async function run(kind: Kind, device: CrashingStore): Promise<boolean> {
  try {
    await kind.begin(device)
    const { header, data } = kind.parts(device)
    const { hotZone = ZONE } = kind
    if ((await pendingIn(header)) !== null) assert.ok((await resume(header, data, { hotZone })).done)
    return true
  } catch (error) {
    if (error instanceof Crash) return false
    throw error
  }
}

/** A decryption begins with a volume, which has a header without a reencryption as well. */
const mayBeDone = async (kind: Kind, device: CrashingStore): Promise<boolean> =>
  (await isEnded(kind, device)) && (await kind.isWhole(device).catch(() => false))

for (const [name, kind] of Object.entries(KINDS)) {
  test(`${name}: cut off anywhere, it loses nothing and goes on when the command is repeated`, async () => {
    const bytes = await kind.make()
    const whole = new CrashingStore(bytes.slice())
    assert.ok(await run(kind, whole))
    assert.ok(await kind.isWhole(whole))
    const { steps } = whole
    assert.ok(steps > 20, `${steps} steps`)
    await fc.assert(
      fc.asyncProperty(powerCuts(steps), async (cuts) => {
        let device = new CrashingStore(bytes.slice())
        for (const cut of cuts) {
          device.crashAt(cut.step)
          if (await run(kind, device)) break
          device = afterCut(device, cut)
          if (await mayBeDone(kind, device)) break
        }
        if (!(await mayBeDone(kind, device))) assert.ok(await run(kind, device))
        assert.ok(await kind.isWhole(device), "the plaintext is another")
        assert.ok(await isEnded(kind, device))
      }),
      { numRuns: runs(40, 5) },
    )
    assert.equal(enclave.open, 0)
  })
}

/** The command, while one read, write or sync fails; then again, on a device that works. Whether it came to that one. */
async function withFault(kind: Kind, bytes: Uint8Array, fault: Fault): Promise<boolean> {
  const device = new FaultyStore(bytes.slice())
  device.fail(fault)
  await run(kind, device).catch((error: unknown) => {
    assert.ok(error instanceof IoError, String(error))
    assert.equal(error.code, fault.code ?? "EIO")
  })
  const again = new CrashingStore(device.bytes.slice())
  if (!(await mayBeDone(kind, again))) assert.ok(await run(kind, again))
  assert.ok(await kind.isWhole(again), `${fault.kind} ${fault.number}: the plaintext is another`)
  assert.ok(await isEnded(kind, again))
  assert.equal(enclave.open, 0)
  return device.failed
}

const MOVING = {
  "encryption with a shift": shifted,
  "decryption that fills the front": fillsFront("tresor", "checksum"),
}
for (const [name, kind] of Object.entries(MOVING)) {
  for (const fault of [
    { kind: "read" },
    { kind: "write" },
    { kind: "write", code: "ENOSPC" },
    { kind: "flush" },
  ] as const) {
    test(`${name}: a ${fault.kind} that fails (${"code" in fault ? fault.code : "EIO"}) loses nothing`, async () => {
      const bytes = await kind.make()
      let failures = 0
      // All of the start, one by one; then some of the pass.
      for (let number = 0; await withFault(kind, bytes, { ...fault, number }); failures++) {
        number += FULL ? (number < 12 ? 1 : 7) : 6
      }
      assert.ok(failures > 2, `${failures} failures`)
    })
  }
}

test("an I/O error while a cut-off start is mended loses nothing", async () => {
  const bytes = await shifted.make()
  const whole = new CrashingStore(bytes.slice())
  await shifted.begin(whole)
  const steps = whole.steps
  const device = new CrashingStore(bytes.slice())
  // Of the last writes, the header's: the front is in part the header by then.
  device.crashAt(steps - 2)
  assert.ok(!(await run(shifted, device)))
  const cut = device.afterCrash((block) => block % 2 === 0).bytes
  for (const kind of ["read", "write", "flush"] as const) {
    let number = 0
    while (number < (FULL ? 12 : 3) && (await withFault(shifted, cut, { kind, number }))) number++
    assert.ok(number > 0)
  }
})

test("a device that is too small for its header is refused, and nothing of it is written", async () => {
  const wanted = { volume: volumeOf(SHIFT), keyslots: KEYSLOTS.tresor, resilience: "checksum" } as const
  for (const size of [SHIFT, 2 * SHIFT, 3 * SHIFT]) {
    const device = new CrashingStore(new Uint8Array(size).fill(7))
    assert.equal(await mendDisplaced(device, SHIFT), false)
    await assert.rejects(makeEncryption(keeper, "disk.img", device, wanted), { code: "REENCRYPT_UNFIT", exitCode: 4 })
    assert.equal(device.steps, 0)
  }
  const least = new CrashingStore(new Uint8Array(3 * SHIFT + 512).fill(7))
  await displace(least, await makeEncryption(keeper, "disk.img", least, wanted), SHIFT)
  assert.ok((await resume(least, least)).done)
})

test("plaintext whose keyslots cryptsetup destroyed before its last header is ended when its user vouches for it", async () => {
  const kind = fillsFront("portable", "checksum")
  const device = new CrashingStore(await kind.make())
  await kind.begin(device)
  const { header, data } = kind.parts(device)
  const store = await HeaderStore.open(header)
  const begun = store.header.metadata
  const pending = reencryptionOf(begun)!
  const [, slot] = [...begun.keyslots].find(([, { type }]) => type === "luks2")!
  const backups = [pending.final, pending.moved!, pending.previous, pending.final]
  const flags = [[], ["backup-moved-segment"], ["backup-previous"], ["backup-final"]]
  const segments = new Map(backups.map((segment, n) => [n, { ...segment, flags: flags[n]! }]))
  const digests = new Map([...begun.digests].map(([n, each]) => [n, n === 0 ? { ...each, segments: [1, 2] } : each]))
  await store.update(
    async (old) => ({ header: { ...old, metadata: { ...begun, segments, digests, tokens: new Map() } } }),
    { reencrypts: true },
  )
  await header.write(Number(slot.area.offset), new Uint8Array(Number(slot.area.size)))
  await data.write(0, plain)
  await assert.rejects(resume(header, data), (error) => {
    assert.ok(error instanceof TresorError)
    assert.equal(error.code, "ENCLAVE_PASSPHRASE")
    assert.match(
      error.message,
      /^No key available with this passphrase; all data of disk.img are plaintext, .*--authenticate ends/,
    )
    return true
  })
  assert.ok((await resume(header, data, { vouched: true })).done)
  assert.ok(await kind.isWhole(device))
})

test("a volume whose data are too few to move over its header is refused, and nothing of it is written", async () => {
  const made = await fillsFront("portable", "checksum").make()
  const device = new CrashingStore(made.slice(0, ENDS + SHIFT + 4096))
  const volume = await keeperOf(headerOf(device))
  const place = { store: volume.store, data: dataOf(device), path: "disk.img" }
  const proof = { secret: SECRET, slot: null }
  await assert.rejects(
    startDecryption(volume, place, proof, { resilience: "checksum", detached: true }),
    /its 4096 bytes of data are too few to move/,
  )
  assert.equal(device.steps, 0)
})
