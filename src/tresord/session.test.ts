import assert from "node:assert/strict"
import { test } from "node:test"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import type { VolumeInput } from "../control/volume.ts"
import { admitted, bindingOf } from "../enclave/asked.ts"
import { decodePublicHeader } from "../enclave/marshal.ts"
import type { Enclave, EnclaveIdentity, SealedRequest, Unlocked, VolumeHandle } from "../enclave/types.ts"
import type { Header, Keyslot } from "../luks2/types.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { SESSION_PARTS } from "../testing/session-parts.ts"
import { Volume } from "../volume/volume.ts"
import { Session } from "./session.ts"
import type { SessionParts } from "./session-parts.ts"

const UUID = "9c1f1ee9-6b5e-4a1e-a63c-cf6c2b4b2b35"

function keyslot(slot: number): Keyslot {
  return {
    slot,
    kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
    afHash: "sha256",
    areaKeySize: 64,
    keySize: 64,
    areaOffset: 32768n,
    areaSize: 258048n,
    passphraseKdf: null,
    salt: new Uint8Array(32),
    area: new Uint8Array(0),
    sealed: null,
    tried: true,
  }
}

const header: Header = {
  uuid: UUID,
  segment: { cipher: "aes-xts-plain64", sectorSize: 4096, keySize: 64, offset: 0n, size: null, ivTweak: 0n },
  digest: { hash: "sha256", iterations: 1000, salt: new Uint8Array(32), digest: new Uint8Array(32) },
  keyslots: [keyslot(0), keyslot(7)],
  macs: { segment: new Uint8Array(32), keyslots: new Map() },
}

/** An enclave whose passphrase is the byte 1 and whose cipher is the identity. */
class FakeEnclave {
  alive = true
  closed = 0
  readonly open = new Set<number>()
  readonly tried: number[][] = []
  resealed: Uint8Array | null = null
  #next = 1
  readonly identity: EnclaveIdentity

  constructor(publicKey: number) {
    this.identity = {
      backend: "software",
      mrenclave: "00".repeat(32),
      mrsigner: "11".repeat(32),
      isvProdId: 1,
      isvSvn: 1,
      cpuSvn: "22".repeat(16),
      debug: true,
      xfrm: 3n,
      publicKey: new Uint8Array(32).fill(publicKey),
      aes: "aesni",
      kdfMemoryKib: 1024,
      memory: { keys: "memfd_secret", stacks: "memfd_secret", heap: "memfd_secret" },
    }
  }

  slotsChanged: number[] = []

  async challenge() {
    return new Uint8Array(32)
  }

  async unlock(sealed: SealedRequest, given: Header): Promise<Unlocked> {
    this.tried.push(given.keyslots.filter((each) => each.tried).map((each) => each.slot))
    await new Promise((resolve) => setImmediate(resolve))
    if (sealed.bytes[0] !== 1) throw new TresorError("ENCLAVE_PASSPHRASE", Exit.denied, "no")
    const handle = this.#next++ as VolumeHandle
    this.open.add(handle)
    const facts = { segmentChanged: false, slotsChanged: this.slotsChanged, slotsAdded: [7], slotsRemoved: [] }
    return { ...facts, handle, slot: 0, resealed: this.resealed }
  }

  sectors(_: VolumeHandle, __: boolean, ranges: readonly { input: Uint8Array; output: Uint8Array }[]) {
    for (const { input, output } of ranges) output.set(input)
  }

  closeVolume(handle: VolumeHandle) {
    assert.ok(this.open.delete(handle), "a handle is wiped once")
  }

  async close() {
    this.closed++
  }
}

function make(more: Partial<SessionParts> = {}) {
  const enclaves = [new FakeEnclave(1)]
  const warnings: string[] = []
  const saved: number[] = []
  const volume = new Volume({ store: new MemoryStore(new Uint8Array(65536)), offset: 0, size: null, sectorSize: 4096 })
  const session = new Session({
    ...SESSION_PARTS,
    header: {
      uuid: UUID,
      label: "",
      read: async () => header,
      saveSealed: async (slot) => void saved.push(slot),
    },
    volume,
    enclave: enclaves[0] as unknown as Enclave,
    openEnclave: async () => {
      enclaves.push(new FakeEnclave(enclaves.length + 1))
      return enclaves.at(-1) as unknown as Enclave
    },
    warn: (message) => warnings.push(message),
    ...more,
  })
  return { session, volume, enclaves, warnings, saved }
}

/** As a client that asks for what it is shown. */
async function request(
  byte: number,
  slot: number | null = null,
  { shown = header, unsealed = true }: { readonly shown?: Header; readonly unsealed?: boolean } = {},
): Promise<VolumeInput<"Unlock">> {
  const keyslots = admitted(shown.keyslots, { slot, unsealed })
  const binding = await bindingOf({ purpose: "unlock", header: { ...shown, keyslots }, slot })
  const message = new Uint8Array(100).fill(byte)
  return { uuid: UUID, slot, unsealed, nonce: new Uint8Array(32), request: binding.request, message }
}

test("a keyslot whose parameters were changed by hand is named and refused, its handle wiped", async () => {
  const { session, enclaves, volume } = make()
  enclaves[0]!.slotsChanged = [2]
  await assert.rejects(session.unlock(await request(1)), {
    code: "HEADER_KEYSLOT_CHANGED",
    message: /keyslot 2 was changed/,
  })
  assert.equal(enclaves[0]!.open.size, 0)
  assert.equal(volume.state, "locked")
  await session.close()
})

test("it starts locked, unlocks, tells who changed keyslots, locks with the handle wiped, closes", async () => {
  const { session, enclaves, warnings } = make()
  assert.equal(session.status().state, "locked")
  assert.equal(session.status().keyslot, null)
  await session.unlock(await request(1))
  const { state, keyslot, header: facts } = session.status()
  assert.deepEqual([state, keyslot, facts], ["unlocked", 0, { slotsChanged: [], slotsAdded: [7], slotsRemoved: [] }])
  assert.equal(warnings.length, 1)
  await session.lock()
  assert.equal(session.status().state, "locked")
  assert.equal(enclaves[0]!.open.size, 0)
  await session.close()
  assert.equal(enclaves[0]!.closed, 1)
})

test("without the device of the data the keys are wiped, and what waited and comes ends in errors", async () => {
  const at = (path: string, removed: boolean) => ({ path, fd: -1, identity: "device 1", removed, close() {} })
  const data = { ...at("/disk.img", false), removed: false }
  const { session, volume, enclaves, warnings } = make({ held: [at("/apart.hdr", true), data] })
  await session.unlock(await request(1))
  // A detached header may lie on a stick that is put away.
  assert.equal(await session.lockIfRemoved(), false)
  assert.equal(session.status().state, "unlocked")

  data.removed = true
  assert.equal(await session.lockIfRemoved(), true)
  assert.deepEqual([session.status().state, enclaves[0]!.open.size], ["failed", 0])
  assert.deepEqual(warnings.slice(-1), ["the device with the data was removed"])
  await assert.rejects(volume.read(0, 4096), { code: "EIO" })

  await session.unlock(await request(1))
  await session.lock()
  const waits = assert.rejects(volume.read(0, 4096), { code: "EIO" })
  assert.equal(await session.lockIfRemoved(), true)
  await waits
  await session.close()
})

test("lock destroys an enclave that does not wipe its key, says so, and the next passphrase starts another", async () => {
  const { session, enclaves, warnings } = make()
  await session.unlock(await request(1))
  warnings.length = 0
  const [first] = enclaves
  first!.closeVolume = () => {
    throw new Error("status 77")
  }
  await session.lock()
  assert.equal(session.status().state, "locked")
  assert.equal(first!.closed, 1)
  assert.deepEqual(warnings, ["the enclave did not wipe its key and was destroyed"])
  first!.alive = false
  await session.unlock(await request(1))
  assert.equal(enclaves.length, 2)
  assert.equal(session.status().state, "unlocked")
  await session.close()
})

test("of a dead enclave status says locked before anything is read, and lock destroys it", async () => {
  const { session, enclaves } = make()
  await session.unlock(await request(1))
  enclaves[0]!.alive = false
  assert.equal(session.status().state, "locked")
  assert.equal(session.status().keyslot, null)
  await session.lock()
  assert.equal(enclaves[0]!.closed, 1)
  await session.unlock(await request(1))
  assert.equal(session.status().state, "unlocked")
  await session.close()
})

test("a wrong passphrase leaves it locked, or unlocked as it was", async () => {
  const { session } = make()
  await assert.rejects(session.unlock(await request(2)), { code: "ENCLAVE_PASSPHRASE" })
  assert.equal(session.status().state, "locked")
  await session.unlock(await request(1))
  await assert.rejects(session.unlock(await request(2)), { code: "ENCLAVE_PASSPHRASE" })
  assert.equal(session.status().state, "unlocked")
  await session.close()
})

test("a slot asked for is the only one tried; one that is not there is refused", async () => {
  const { session, enclaves } = make()
  await session.unlock(await request(1, 7))
  await assert.rejects(session.unlock(await request(1, 3)), { code: "KEYSLOT_MISSING", exitCode: Exit.badArguments })
  assert.deepEqual(enclaves[0]!.tried, [[7]])
  await session.close()
})

test("a header that is not the one the passphrase was sealed for is named, and nothing is tried", async () => {
  const { session, enclaves } = make()
  const shown = { ...header, keyslots: [keyslot(0)] }
  await assert.rejects(session.unlock(await request(1, null, { shown })), { code: "HEADER_RACED" })
  assert.deepEqual(enclaves[0]!.tried, [])
  await session.close()
})

test("a challenge shows the header; the unlock that follows is about that one", async () => {
  const changed: Header = { ...header, keyslots: [keyslot(7)] }
  let reads = 0
  const { session, enclaves } = make({
    header: { uuid: UUID, label: "", read: async () => (reads++ === 0 ? header : changed), saveSealed: async () => {} },
  })
  const { nonce, parameters } = await session.challenge("unlock", null)
  const shown = decodePublicHeader(parameters, UUID)
  assert.deepEqual(
    shown.keyslots.map(({ slot }) => slot),
    [0, 7],
  )
  assert.equal(shown.authenticated, true)
  await session.unlock({ ...(await request(1)), nonce })
  assert.equal(reads, 1)
  assert.deepEqual(enclaves[0]!.tried, [[0, 7]])
  await assert.rejects(session.challenge("legacy", null), { code: "PURPOSE_REFUSED", exitCode: Exit.badArguments })
  await session.close()
})

test("unsealed keyslots are tried when the client says so only", async () => {
  const sealed = {
    ...keyslot(7),
    passphraseKdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
    sealed: new Uint8Array(768),
  } as const
  const mixed: Header = { ...header, keyslots: [keyslot(0), sealed] }
  const { session, enclaves } = make({
    header: { uuid: UUID, label: "", read: async () => mixed, saveSealed: async () => {} },
  })
  await session.unlock(await request(1, null, { shown: mixed, unsealed: false }))
  await session.unlock(await request(1, null, { shown: mixed, unsealed: true }))
  assert.deepEqual(enclaves[0]!.tried, [[7], [0, 7]])
  await assert.rejects(session.unlock(await request(1, 0, { shown: mixed, unsealed: false })), {
    code: "KEYSLOT_MISSING",
  })
  await session.close()
})

test("two unlocks at once leave one handle", async () => {
  const { session, enclaves } = make()
  await Promise.all([session.unlock(await request(1)), session.unlock(await request(1))])
  assert.equal(enclaves[0]!.open.size, 1)
  await session.close()
  assert.equal(enclaves[0]!.open.size, 0)
})

test("a lost enclave is replaced when somebody asks, and I/O goes on after unlock", async () => {
  const { session, enclaves, volume } = make()
  await session.unlock(await request(1))
  enclaves[0]!.alive = false
  await session.challenge("unlock", null)
  assert.equal(enclaves.length, 2)
  assert.equal(enclaves[0]!.closed, 1)
  assert.equal(session.status().enclave.publicKey[0], 2)
  await session.unlock(await request(1))
  await volume.read(0, 4096)
  await session.close()
})

test("close ends I/O that waits for a key", async () => {
  const { session, volume } = make()
  const waiting = volume.read(0, 4096)
  const outcome = assert.rejects(waiting, (error) => error instanceof IoError && error.code === "ESHUTDOWN")
  // A drain that waits for the request in flight, as the NBD server's does.
  await session.close()
  await outcome
})

test("a drain that waits for a locked volume's I/O ends", async () => {
  let read: Promise<unknown> = Promise.resolve()
  const { session, volume } = make({ stopServing: () => read.then(() => {}) })
  read = volume.read(0, 4096).catch(() => {})
  await session.close()
})

test("a salt sealed anew is saved; one that cannot be saved is told, the volume opens", async () => {
  const good = make()
  good.enclaves[0]!.resealed = new Uint8Array(768)
  await good.session.unlock(await request(1))
  assert.deepEqual(good.saved, [0])
  await good.session.close()

  const bad = make({
    header: {
      uuid: UUID,
      label: "",
      read: async () => header,
      saveSealed: async () => {
        throw new Error("read-only file system")
      },
    },
  })
  bad.enclaves[0]!.resealed = new Uint8Array(768)
  await bad.session.unlock(await request(1))
  assert.equal(bad.session.status().state, "unlocked")
  assert.ok(bad.warnings.some((warning) => warning.includes("not saved")))
  await bad.session.close()
})

test("after close nothing is asked of the enclave", async () => {
  const { session } = make()
  await session.close()
  await assert.rejects(session.challenge("unlock", null), { code: "VOLUME_CLOSING", exitCode: Exit.busy })
  await assert.rejects(session.changed(new AbortController().signal))
})

test("a keyslot that would take hours is tried only when it is named", async () => {
  const costly = {
    ...keyslot(0),
    kdf: { type: "pbkdf2", hash: "sha256", iterations: 2 ** 32 - 1 },
    tried: false,
  } as const
  const only: Header = { ...header, keyslots: [costly] }
  const { session, enclaves } = make({
    header: { uuid: UUID, label: "", read: async () => only, saveSealed: async () => {} },
  })
  await assert.rejects(session.unlock(await request(1, null, { shown: only })), {
    code: "KEYSLOT_COSTLY",
    message: /keyslot 0 not tried: its KDF asks for 4294967295 iterations/,
  })
  await session.unlock(await request(1, 0, { shown: only }))
  assert.deepEqual(enclaves[0]!.tried, [[0]])
  await session.close()
})

test("a close that cannot flush says how much may be lost, and has wiped the keys", async () => {
  class Broken extends MemoryStore {
    broken = false
    override async flush() {
      if (this.broken) throw new IoError("EIO", "the disk is gone")
    }
  }
  const store = new Broken(new Uint8Array(65536))
  const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
  const { session, enclaves } = make({ volume })
  await session.unlock(await request(1))
  await volume.write(0, new Uint8Array(8192))
  await volume.flush()
  store.broken = true
  await volume.write(0, new Uint8Array(4096))
  await assert.rejects(session.close(), {
    code: "CLOSE_DATA_LOST",
    exitCode: Exit.wrongDevice,
    message: /data may be lost: the disk is gone; 4096 bytes written since the last successful flush/,
  })
  assert.equal(enclaves[0]!.open.size, 0)
})

test("the lease is given back when everything is flushed, and left to expire when something may be on its way", async () => {
  const status = { name: "x:y", owner: "a", state: "late", seconds: 0, reason: "no answer" } as const
  for (const clean of [true, false]) {
    const released: boolean[] = []
    const lease = {
      status,
      onChange: () => () => {},
      release: async (how: boolean) => void released.push(how),
      leave: async () => {},
    }
    const store = new MemoryStore(new Uint8Array(65536))
    if (!clean) store.flush = () => Promise.reject(new IoError("EIO", "the disk is gone"))
    const { session } = make({ volume: new Volume({ store, offset: 0, size: null, sectorSize: 4096 }), lease })
    assert.deepEqual(session.status().lease, status)
    if (clean) await session.close()
    else await assert.rejects(session.close(), { code: "CLOSE_DATA_LOST" })
    assert.deepEqual(released, [clean])
  }
})

test("a change of the lease is a change of the volume", async () => {
  const status = { name: "x:y", owner: "a", state: "held", seconds: 9, reason: null } as const
  const listeners = new Set<() => void>()
  const onChange = (listener: () => void) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  const { session } = make({ lease: { status, onChange, release: async () => {}, leave: async () => {} } })
  const changed = session.changed(new AbortController().signal)
  for (const listener of listeners) listener()
  await changed
  assert.equal(listeners.size, 0)
  await session.close()
})
