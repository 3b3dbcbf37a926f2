/** Power failures in the middle of keyslot operations: a passphrase that opened the volume before still does. */
import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { TresorError } from "../base/errors.ts"
import { HeaderStore } from "../header/header-store.ts"
import type { Kdf } from "../luks2/types.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { FakeEnclave } from "../testing/fake-enclave.ts"
import { runs } from "../testing/runs.ts"
import { addKeyslots } from "./add.ts"
import { changeKeyslot } from "./change.ts"
import { makeVolume, type NewVolume, writeVolume } from "./create.ts"
import { volumeSlots } from "./metadata-edit.ts"
import type { FreshKeyslot, VolumeKeeper } from "./parts.ts"
import { proveKeyslot } from "./prove.ts"
import { removeKeyslot } from "./remove.ts"

const SECTOR = 512

class PowerFailure extends Error {}

/** 0 to 1; what decides which writes the disk had done. */
type Chance = () => number

/**
 * A disk with a write cache: what is not synced may be lost, sector by sector
 * and in any order, when the power fails at write or sync number `failAt`.
 */
class FailingDisk extends MemoryStore {
  failAt = Number.POSITIVE_INFINITY
  /** Writes and syncs so far. */
  events = 0
  readonly #durable: Uint8Array
  #cached: { readonly offset: number; readonly bytes: Uint8Array }[] = []

  constructor(image: Uint8Array) {
    super(image.slice())
    this.#durable = image
  }

  override async write(offset: number, bytes: Uint8Array): Promise<void> {
    // The write that fails may have reached the disk in part.
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, SECTOR * Math.floor((offset + at) / SECTOR + 1) - offset)
      this.#cached.push({ offset: offset + at, bytes: bytes.slice(at, end) })
      at = end
    }
    this.#step()
    await super.write(offset, bytes)
  }

  override async flush(): Promise<void> {
    this.#step()
    for (const { offset, bytes } of this.#cached) this.#durable.set(bytes, offset)
    this.#cached = []
  }

  #step(): void {
    if (this.events++ === this.failAt) throw new PowerFailure()
  }

  /** The disk as it is found after the power failed. */
  afterwards(chance: Chance): FailingDisk {
    const share = chance()
    const survived = this.#cached.filter(() => chance() < share)
    for (let i = survived.length - 1; i > 0; i--) {
      const j = Math.floor(chance() * (i + 1))
      ;[survived[i], survived[j]] = [survived[j]!, survived[i]!]
    }
    for (const { offset, bytes } of survived) this.#durable.set(bytes, offset)
    return new FailingDisk(this.#durable)
  }
}

/** xorshift32: fast-check gives the seed, so that a failure can be repeated. */
function chanceOf(seed: number): Chance {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** Header and some fifteen areas: what lies behind is of no interest here, and copying it takes time. */
const DISK_SIZE = 2 << 20
const KDF: Kdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 }
const NEW: NewVolume = {
  uuid: "11111111-2222-4333-8444-555555555555",
  label: "",
  sectorSize: 512,
  keySize: 32,
  detached: false,
  headerSize: 16 << 10,
}
const bytes = (text: string) => new TextEncoder().encode(text)
const fresh = (secret: string, sealed: boolean): FreshKeyslot => ({
  secret: bytes(secret),
  slot: null,
  kdf: KDF,
  ...(sealed ? { type: "tresor", policy: "mrsigner" } : { type: "portable" }),
})

interface Step {
  readonly operation: "add" | "add two" | "change" | "remove"
  /** Which of the passphrases that open it now. */
  readonly by: number
  readonly sealed: boolean
  /** Where the power fails, as a share of the operation's writes and syncs; past 1: not at all. */
  readonly failAt: number
  readonly seed: number
}

/** A volume, and the passphrases that open it. */
class Machine {
  readonly enclave = new FakeEnclave()
  disk = new FailingDisk(new Uint8Array(DISK_SIZE))
  known: ReadonlySet<string> = new Set(["first"])
  #next = 0

  async start(): Promise<this> {
    const made = await makeVolume(
      { enclave: this.enclave, seal: this.enclave.seal },
      NEW,
      [fresh("first", true)],
      "disk",
    )
    await writeVolume(this.disk, made, { wipeOld: false, progress() {} })
    return this
  }

  async keeper(disk = this.disk): Promise<VolumeKeeper> {
    return { enclave: this.enclave, seal: this.enclave.seal, store: await HeaderStore.open(disk), path: "disk" }
  }

  /** Those of `candidates` that open the disk. */
  async opening(candidates: Iterable<string>): Promise<ReadonlySet<string>> {
    const keeper = await this.keeper()
    const found = new Set<string>()
    for (const secret of candidates) {
      try {
        await proveKeyslot(keeper, { secret: bytes(secret), slot: null })
        found.add(secret)
      } catch (error) {
        if (!(error instanceof TresorError && error.code === "ENCLAVE_PASSPHRASE")) throw error
      }
    }
    return found
  }

  /** What `step` does, and which passphrases open the volume once it is done. */
  plan({ operation, by, sealed }: Step): {
    readonly after: ReadonlySet<string>
    run(keeper: VolumeKeeper): Promise<unknown>
  } {
    const secrets = [...this.known]
    const existing = secrets[by % secrets.length]!
    const proof = { secret: bytes(existing), slot: null }
    const others = secrets.filter((each) => each !== existing)
    const [a, b] = [`passphrase ${this.#next++}`, `passphrase ${this.#next++}`]
    switch (operation) {
      case "add":
        return { after: new Set([...secrets, a]), run: (keeper) => addKeyslots(keeper, proof, [fresh(a, sealed)]) }
      case "add two":
        return {
          after: new Set([...secrets, a, b]),
          run: (keeper) => addKeyslots(keeper, proof, [fresh(a, sealed), fresh(b, !sealed)]),
        }
      case "change":
        return { after: new Set([...others, a]), run: (keeper) => changeKeyslot(keeper, proof, fresh(a, sealed)) }
      case "remove":
        return others.length === 0
          ? { after: this.known, run: async () => {} }
          : {
              after: new Set(others),
              run: (keeper) => removeKeyslot(keeper, proof.secret, { slot: null, force: false }),
            }
    }
  }
}

const equal = (a: ReadonlySet<string>, b: ReadonlySet<string>) =>
  a.size === b.size && [...a].every((each) => b.has(each))

/** Runs a step with the power failing at `event`; asserts that all of it or none happened. */
async function interrupt(
  machine: Machine,
  plan: ReturnType<Machine["plan"]>,
  event: number,
  seed: number,
): Promise<void> {
  const before = machine.known
  const { disk } = machine
  disk.events = 0
  disk.failAt = event
  const keeper = await machine.keeper()
  let failed = false
  try {
    await plan.run(keeper)
  } catch (error) {
    if (!(error instanceof PowerFailure)) throw error
    failed = true
  }
  machine.disk = failed ? disk.afterwards(chanceOf(seed)) : disk
  disk.failAt = Number.POSITIVE_INFINITY
  const now = await machine.opening([...before, ...plan.after])
  if (failed) {
    assert.ok(
      equal(now, before) || equal(now, plan.after),
      `opens with ${[...now]}, before ${[...before]}, after ${[...plan.after]}`,
    )
  } else {
    assert.deepEqual([...now].sort(), [...plan.after].sort())
  }
  machine.known = now
}

test("the power fails at any write or sync of an operation: it happened whole, or not at all", async () => {
  for (const operation of ["add", "add two", "change", "remove"] as const) {
    const step: Step = { operation, by: 0, sealed: true, failAt: 2, seed: 1 }
    const prepared = async () => {
      const machine = await new Machine().start()
      await interrupt(machine, machine.plan({ ...step, operation: "add" }), Number.POSITIVE_INFINITY, 0)
      return machine
    }
    const whole = await prepared()
    await interrupt(whole, whole.plan(step), Number.POSITIVE_INFINITY, 0)
    const { events } = whole.disk
    assert.ok(events >= 6, `${operation}: ${events} writes and syncs`)
    for (let event = 0; event < events; event++) {
      for (const seed of [0x5eed, 3, 0x7fffffff].slice(0, runs(3, 1))) {
        const machine = await prepared()
        await interrupt(machine, machine.plan(step), event, seed)
      }
    }
  }
})

test("any sequence of operations, each interrupted anywhere, leaves a volume that opens", async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    operation: fc.constantFrom("add", "add two", "change", "remove"),
    by: fc.nat(31),
    sealed: fc.boolean(),
    failAt: fc.double({ min: 0, max: 1.5, noNaN: true }),
    seed: fc.integer(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      const machine = await new Machine().start()
      for (const each of steps) {
        const plan = machine.plan(each)
        // An operation takes about this many; past its end it is not interrupted.
        const event = Math.floor(each.failAt * 14)
        const { metadata } = (await machine.keeper()).store.header
        // The JSON area is cryptsetup's 12 KiB: more would be refused for want of room.
        if (each.operation !== "remove" && volumeSlots(metadata).length > 3) continue
        await interrupt(machine, plan, event, each.seed)
        assert.ok(machine.known.size > 0)
      }
    }),
    { numRuns: runs(60, 12) },
  )
})
