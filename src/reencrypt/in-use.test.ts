/** A reencryption beside the volume's requests: power failures while both write, pauses, errors of the store. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { IoError } from "../base/io-error.ts"
import { HeaderStore } from "../header/header-store.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { positionOf } from "../luks2/reencryption-position.ts"
import { Crash, CrashingStore } from "../testing/crashing-store.ts"
import { FakeEnclave, fakeCipher } from "../testing/fake-enclave.ts"
import { FaultyStore } from "../testing/faulty-store.ts"
import { afterCut, numbers, type PowerCut, powerCuts } from "../testing/power-cut.ts"
import { FULL, runs } from "../testing/runs.ts"
import { keyOf, makeSmall, portable, SMALL_OFFSET, unlockBy } from "../testing/small-volume.ts"
import { Volume } from "../volume/volume.ts"
import { convertInUse, endUse, type InUse, prepareUse } from "./in-use.ts"
import { describePass, enterPass, resumePass } from "./resume.ts"
import type { Ended, Pass } from "./run.ts"
import { type NewKey, startPass } from "./start.ts"
import { isUnprobed, probeAt } from "./zones.ts"

const DATA_OFFSET = SMALL_OFFSET
const SECTOR = 512
const SECTORS = 64
const VOLUME = SECTORS * SECTOR
const ZONE = 8 * SECTOR
const SECRET = new TextEncoder().encode("a passphrase")
const PORTABLE = portable(SECRET)

const enclave = new FakeEnclave()
const keeperOf = (store: HeaderStore) => ({ enclave, seal: enclave.seal, store, path: "disk.img" })

/** A small volume of zeros, with one keyslot. */
async function image(): Promise<{ readonly bytes: Uint8Array; readonly key: Uint8Array }> {
  const device = new CrashingStore(DATA_OFFSET + VOLUME)
  const store = await makeSmall(enclave, enclave.seal, device, SECRET, { keySize: 32, sectorSize: SECTOR })
  const key = await keyOf(enclave, store, SECRET)
  await device.write(DATA_OFFSET, fakeCipher(key, 0, new Uint8Array(VOLUME)))
  return { bytes: device.bytes, key }
}

const KEYS: Readonly<Record<string, NewKey>> = {
  checksum: { keyslots: [PORTABLE], resilience: "checksum", sectorSize: null, keySize: null },
  journal: { keyslots: [PORTABLE], resilience: "journal", sectorSize: null, keySize: null },
}

/** As a volume in use begins it. */
async function begun(bytes: Uint8Array, key: NewKey): Promise<CrashingStore> {
  const device = new CrashingStore(bytes.slice())
  const store = await HeaderStore.open(device)
  await startPass(
    keeperOf(store),
    { store, data: device, path: "disk.img", inUse: true },
    { secret: SECRET, slot: null },
    key,
  )
  return new CrashingStore(device.bytes.slice())
}

interface Open {
  readonly volume: Volume
  /** `null`: nothing is pending. */
  readonly pass: Pass | null
  readonly position: number
}

/** `head`: where the header is, apart from the data or not. */
async function open(device: CrashingStore, head = device): Promise<Open> {
  const store = await HeaderStore.open(head)
  const volume = new Volume({
    store: device,
    offset: DATA_OFFSET,
    size: null,
    sectorSize: SECTOR,
    discards: true,
    closeGraceMs: 0,
    flushGraceMs: 0,
  })
  if (reencryptionOf(store.header.metadata) === null) {
    volume.unlock(enclave, await unlockBy(enclave, store, SECRET))
    return { volume, pass: null, position: VOLUME }
  }
  const place = { store, data: device, path: "disk.img" }
  const { pass: described, ...rest } = await describePass(place, false)
  const asked = { ...described, use: "both" } as const
  const sealed = await enclave.seal({ purpose: "reencrypt", pass: asked }, { existing: SECRET })
  const { handle } = await enterPass(keeperOf(store), asked, sealed)
  const pass: Pass = { ...place, ...rest, enclave, handle }
  try {
    const position = await prepareUse(pass)
    volume.unlock(enclave, handle)
    return { volume, pass, position }
  } catch (error) {
    enclave.closeVolume(handle)
    throw error
  }
}

const inUse = (volume: Volume): InUse => ({
  ciphertext: volume.ciphertext,
  quiesce: (start, end) => volume.quiesce(start, end),
})

function convert({ volume, pass, position }: Open, signal = new AbortController().signal): Promise<Ended> {
  const pace = () => new Promise<void>((resolve) => setImmediate(resolve))
  return convertInUse(pass!, position, inUse(volume), { hotZone: ZONE, signal, pace })
}

/** Contents of one sector, in order; `null`: anything, after a discard. */
interface History {
  /** The first that a cut may leave, and all later ones. */
  contents: (Uint8Array | null)[]
  /** Of those, the last that was acknowledged. */
  acknowledged: number
}

/** What each sector holds, and what it may hold after a cut. */
class Model {
  readonly #sectors: History[] = Array.from({ length: SECTORS }, () => ({
    contents: [new Uint8Array(SECTOR)],
    acknowledged: 0,
  }))

  last(sector: number): Uint8Array | null {
    return this.#sectors[sector]!.contents.at(-1)!
  }

  #add(sector: number, content: Uint8Array | null): () => void {
    const history = this.#sectors[sector]!
    history.contents.push(content)
    return () => {
      history.acknowledged = history.contents.lastIndexOf(content)
    }
  }

  /** Before it is written, since a cut may let it through; call what is returned when it is acknowledged. */
  write(offset: number, bytes: Uint8Array): () => void {
    const acknowledge: (() => void)[] = []
    for (let at = offset; at < offset + bytes.length; ) {
      const sector = Math.floor(at / SECTOR)
      const next = Math.min((sector + 1) * SECTOR, offset + bytes.length)
      const content = next - at === SECTOR ? new Uint8Array(SECTOR) : this.last(sector)!.slice()
      content.set(bytes.subarray(at - offset, next - offset), at - sector * SECTOR)
      acknowledge.push(this.#add(sector, content))
      at = next
    }
    return () => {
      for (const each of acknowledge) each()
    }
  }

  discard(sector: number): () => void {
    return this.#add(sector, null)
  }

  /** A flush begins; call what is returned when it has ended. */
  flush(): () => void {
    const marks = this.#sectors.map((history) => history.contents[history.acknowledged])
    return () => {
      this.#sectors.forEach((history, sector) => {
        const index = history.contents.lastIndexOf(marks[sector]!)
        if (index <= 0) return
        history.contents = history.contents.slice(index)
        history.acknowledged -= index
      })
    }
  }

  /** Now, without a cut in between. */
  check(sector: number, content: Uint8Array): void {
    const last = this.last(sector)
    if (last !== null) assert.ok(Buffer.compare(content, last) === 0, `sector ${sector} is another`)
  }

  /** After a cut; what was found is what there is. */
  settle(plain: Uint8Array): void {
    this.#sectors.forEach(({ contents }, sector) => {
      const content = new Uint8Array(plain.subarray(sector * SECTOR, (sector + 1) * SECTOR))
      const found = contents.some((each) => each === null || Buffer.compare(each, content) === 0)
      assert.ok(found, `sector ${sector} is none of the ${contents.length} that it may be`)
      this.#sectors[sector] = { contents: [content], acknowledged: 0 }
    })
  }
}

/** A user of the sectors whose eighths are `worker` modulo 3; one request after the other, until it is to stop. */
async function use(volume: Volume, model: Model, worker: number, next: (below: number) => number, stop: () => boolean) {
  const eighths = Array.from({ length: SECTORS / 8 }, (_, n) => n).filter((n) => n % 3 === worker)
  while (!stop()) {
    const first = eighths[next(eighths.length)]! * 8 + next(8)
    const room = 8 - (first % 8)
    const kind = next(10)
    if (kind < 5) {
      const from = kind === 0 && model.last(first) !== null ? 1 + next(SECTOR - 1) : 0
      const length = from > 0 ? SECTOR - from : (1 + next(room)) * SECTOR
      const bytes = new Uint8Array(length).map(() => next(256))
      const acknowledge = model.write(first * SECTOR + from, bytes)
      const stable = kind === 4 ? model.flush() : () => {}
      await volume.write(first * SECTOR + from, bytes, kind === 4)
      stable()
      acknowledge()
    } else if (kind < 8) {
      const count = 1 + next(room)
      const plain = await volume.read(first * SECTOR, count * SECTOR)
      for (let n = 0; n < count; n++) model.check(first + n, plain.subarray(n * SECTOR, (n + 1) * SECTOR))
    } else if (kind === 8) {
      const acknowledge = model.discard(first)
      await volume.discard(first * SECTOR, SECTOR)
      acknowledge()
    } else {
      const stable = model.flush()
      await volume.flush()
      stable()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Users and the pass until the pass ends, or the power fails; whether it ended. */
async function together(opened: Open, model: Model, seed: number, uncut = false): Promise<boolean> {
  let over = false
  const users = [0, 1, 2].map((worker) =>
    use(opened.volume, model, worker, numbers(seed + worker), () => over).then(
      () => null,
      (error: unknown) => error,
    ),
  )
  const ended = await convert(opened).then(
    ({ done }) => done,
    (error: unknown) => error,
  )
  over = true
  const errors = [...(await Promise.all(users)), typeof ended === "boolean" ? null : ended]
  // The power failed in a zone: the enclave serves nothing of it until it is recovered.
  const expected = (error: unknown) => !uncut && (error instanceof Crash || error instanceof IoError)
  for (const error of errors) if (error !== null && !expected(error)) throw error
  return ended === true
}

async function close({ volume }: Open): Promise<void> {
  await volume.close().catch(() => {})
}

async function checkModel({ volume }: Open, model: Model): Promise<void> {
  model.settle(await volume.read(0, VOLUME))
}

/** Takes its time, so that requests are under way when a zone is to be quiet. */
class BusyStore extends CrashingStore {
  readonly #next = numbers(this.bytes[DATA_OFFSET]!)

  async #busy(): Promise<void> {
    for (let turns = this.#next(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
  }

  override async read(offset: number, into: Uint8Array): Promise<void> {
    await super.read(offset, into)
    await this.#busy()
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    await this.#busy()
    await super.write(offset, from)
  }
}

const cutOff = (store: CrashingStore, cut: Pick<PowerCut, "seed" | "keeps">): BusyStore =>
  new BusyStore(afterCut(store, cut).bytes)

async function cutsLoseNothing(key: NewKey, apart: boolean): Promise<void> {
  const { bytes, key: oldKey } = await image()
  const start = await begun(bytes, key)
  const property = fc.asyncProperty(powerCuts(161), fc.boolean(), async (cuts, atHead) => {
    const handles = enclave.open
    let device = new BusyStore(start.bytes.slice())
    let head = apart ? new BusyStore(start.bytes.slice()) : device
    const model = new Model()
    for (const each of cuts) {
      const failing = atHead ? head : device
      failing.crashAt(each.step)
      const opened = await open(device, head).catch((error: unknown) => {
        if (!(error instanceof Crash)) throw error
        return null
      })
      if (opened !== null) {
        if (opened.pass !== null) await together(opened, model, each.seed).finally(() => close(opened))
        else await close(opened)
      }
      device = cutOff(device, each)
      head = apart ? cutOff(head, { ...each, seed: each.seed + 1 }) : device
      const again = await open(device, head)
      await checkModel(again, model)
      await close(again)
    }
    const opened = await open(device, head)
    if (opened.pass !== null) assert.equal(await together(opened, model, 7, true), true)
    await checkModel(opened, model)
    await close(opened)
    const store = await HeaderStore.open(head)
    const found = await keyOf(enclave, store, SECRET)
    assert.notDeepEqual(found, oldKey)
    model.settle(fakeCipher(found, 0, device.bytes.slice(DATA_OFFSET)))
    const { segments, digests, config } = store.header.metadata
    assert.deepEqual([segments.size, digests.size, config.requirements], [1, 1, []])
    assert.equal(enclave.open, handles)
  })
  await fc.assert(property, { numRuns: runs(60, 5) })
}

for (const [name, key] of Object.entries(KEYS)) {
  test(`${name}: cut off anywhere while users write, nothing flushed is lost and it goes on to the end`, () =>
    cutsLoseNothing(key, false))
}

test("the same with a detached header, whose flushes are not the data's", () =>
  cutsLoseNothing(KEYS["checksum"]!, true))

test("a signal pauses it between two zones, and a volume that was closed is bound to its data again", async () => {
  const { bytes } = await image()
  const device = await begun(bytes, KEYS["checksum"]!)
  const opened = await open(device)
  const pause = new AbortController()
  let zones = 0
  const pace = async () => {
    if (zones++ === 2) pause.abort()
  }
  const options = { hotZone: ZONE, signal: pause.signal, pace }
  assert.deepEqual(await convertInUse(opened.pass!, opened.position, inUse(opened.volume), options), {
    done: false,
    dropped: [],
  })
  const state = async () => {
    const { metadata } = (await HeaderStore.open(device)).header
    const found = reencryptionOf(metadata)!
    return { where: positionOf(metadata, found), probe: found.state!.probe }
  }
  const paused = await state()
  assert.deepEqual(paused.where, { position: BigInt(2 * ZONE), hot: 0n, done: false })
  assert.ok(isUnprobed(paused.probe), "it is in use")
  const plain = new Uint8Array(randomBytes(VOLUME))
  await opened.volume.write(0, plain)
  await opened.volume.flush()
  const store = await HeaderStore.open(device)
  const before = (at: number) => DATA_OFFSET + at
  const probed = { data: device, before, backward: false, movedLast: false, total: VOLUME, sector: SECTOR }
  await endUse({ ...opened.pass!, store }, await probeAt(probed, 2 * ZONE))
  await close(opened)
  assert.deepEqual((await state()).probe, await probeAt(probed, 2 * ZONE))
  // A header of before, over data that went on.
  const old = device.bytes.slice(0, DATA_OFFSET)
  const again = await open(device)
  await convert(again)
  await close(again)
  assert.ok(
    Buffer.compare(
      fakeCipher(await keyOf(enclave, await HeaderStore.open(device), SECRET), 0, device.bytes.slice(DATA_OFFSET)),
      plain,
    ) === 0,
  )
  device.bytes.set(old)
  await assert.rejects(open(device), { code: "REENCRYPT_ROLLED_BACK" })
  assert.equal(enclave.open, 0)
})

test("requests elsewhere go on while a zone is quiet, and those on it wait for it alone", async () => {
  const { bytes } = await image()
  const device = await begun(bytes, KEYS["checksum"]!)
  const opened = await open(device)
  const { volume } = opened
  const quiet = volume.quiesce(ZONE, 2 * ZONE)
  await quiet.ready
  const done: string[] = []
  const content = new Uint8Array(SECTOR).fill(7)
  const waiting = [
    volume.read(ZONE, SECTOR).then(() => done.push("read")),
    volume.write(2 * ZONE - SECTOR, content).then(() => done.push("write")),
    volume.discard(ZONE + SECTOR, SECTOR).then(() => done.push("discard")),
    volume.read(0, VOLUME).then(() => done.push("read across")),
  ]
  await volume.write(0, content)
  await volume.write(2 * ZONE, content)
  assert.deepEqual(await volume.read(2 * ZONE, SECTOR), Buffer.from(content))
  assert.deepEqual(done, [])
  assert.equal(volume.readsNow(ZONE, SECTOR), false)
  assert.equal(volume.writesNow(ZONE, SECTOR), false)
  quiet.release()
  await Promise.all(waiting)
  assert.equal(done.length, 4)
  await close(opened)
})

test("it waits for what is under way on its zone", async () => {
  const { bytes } = await image()
  const device = await begun(bytes, KEYS["checksum"]!)
  const opened = await open(device)
  const free = opened.volume.holdSectors(ZONE, SECTOR)
  let ready = false
  const quiet = opened.volume.quiesce(0, 2 * ZONE)
  const reached = quiet.ready.then(() => {
    ready = true
  })
  await opened.volume.read(3 * ZONE, SECTOR)
  assert.equal(ready, false)
  free()
  await reached
  quiet.release()
  await close(opened)
})

for (const kind of ["read", "write", "flush"] as const) {
  test(`a ${kind} that fails stops it; all but its zone is served, and with the passphrase it goes on`, async () => {
    const { bytes } = await image()
    const start = await begun(bytes, KEYS["checksum"]!)
    let failures = 0
    // Some of the start and of the pass, until that ends before it comes to one.
    for (let number = 0; ; number += number < 4 ? 1 : FULL ? 6 : 18) {
      const device = new FaultyStore(start.bytes.slice())
      const plain = new Uint8Array(randomBytes(VOLUME))
      let opened = await open(device)
      await opened.volume.write(0, plain)
      await opened.volume.flush()
      device.fail({ kind, number })
      const stopped = await convert(opened).then(
        () => null,
        (error: unknown) => error,
      )
      if (!device.failed) {
        assert.equal(stopped, null)
        await close(opened)
        break
      }
      failures++
      assert.equal((stopped as Error).message, `a ${kind} failed`)
      // Beside the zones that it can have come to in these many requests, each sector is what it was.
      const refused: number[] = []
      for (let zone = 0; zone < VOLUME; zone += ZONE) {
        const content = await opened.volume.read(zone, ZONE).catch(() => null)
        if (content === null) refused.push(zone)
        else assert.ok(Buffer.compare(content, plain.subarray(zone, zone + ZONE)) === 0, `zone at ${zone}`)
      }
      assert.ok(refused.length <= 1, `${refused}`)
      const served = refused[0] === VOLUME - ZONE ? 0 : VOLUME - ZONE
      plain.fill(9, served, served + ZONE)
      await opened.volume.write(served, plain.subarray(served, served + ZONE))
      await opened.volume.flush()
      const before = opened
      opened = await open(device)
      await close(before)
      assert.equal((await convert(opened)).done, true)
      assert.deepEqual(await opened.volume.read(0, VOLUME), Buffer.from(plain))
      await close(opened)
      assert.equal(enclave.open, 0)
    }
    assert.ok(failures > 4, `${failures} failures`)
  })
}

test("what a volume in use left is resumed when it is closed", async () => {
  const { bytes } = await image()
  const device = await begun(bytes, KEYS["journal"]!)
  const store = await HeaderStore.open(device)
  const place = { store, data: device, path: "disk.img" }
  const never = { stop: () => false, progress: async () => {}, hotZone: ZONE, secret: SECRET, vouched: false }
  assert.equal((await resumePass(keeperOf(store), place, never)).done, true)
  const plain = fakeCipher(
    await keyOf(enclave, await HeaderStore.open(device), SECRET),
    0,
    device.bytes.slice(DATA_OFFSET),
  )
  assert.ok(plain.every((byte) => byte === 0))
})
