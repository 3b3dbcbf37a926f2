import assert from "node:assert/strict"
import { test } from "node:test"
import { EnclaveError } from "../enclave/error.ts"
import { decodeLegacyParameters } from "../enclave/marshal.ts"
import type { Enclave, SealedRequest, VolumeHandle } from "../enclave/types.ts"
import type { ForgetEvent, SetkeyEvent } from "../mapping/attach.ts"
import type { LegacyRecord } from "../mapping/record.ts"
import { FakeLegacyRing } from "../testing/fake-legacy-ring.ts"
import { LegacyService } from "./legacy.ts"

const UUID = "9c1f1ee9-6b5e-4a1e-a63c-cf6c2b4b2b35"
const SALT = new Uint8Array(768).fill(7)

/** An enclave that makes a handle of each secret, and a ring without a module. */
function make(options: { sealedOnly?: boolean; sealed?: Uint8Array | null; saveFails?: boolean } = {}) {
  const ring = new FakeLegacyRing()
  const { log, gone, rejected } = ring
  const saved: Uint8Array[] = []
  const secrets: (Uint8Array | SealedRequest)[] = []
  const open = new Set<number>()
  let next = 1
  const enclave = {
    alive: true,
    identity: { memory: {} },
    async challenge() {
      return new Uint8Array(32)
    },
    async legacy({ keySize, secret, salt }: Parameters<Enclave["legacy"]>[0]) {
      if (keySize !== 16 && keySize !== 32) throw new EnclaveError("unsupported")
      secrets.push(secret instanceof Uint8Array ? secret.slice() : secret)
      const handle = next++ as VolumeHandle
      open.add(handle)
      return { handle, sealed: "sealed" in salt ? salt.sealed : SALT }
    },
    closeVolume: (handle: number) => assert.ok(open.delete(handle), "a key is wiped once"),
    close: async () => {},
  }
  const service = new LegacyService({
    name: "legacy",
    path: "/record",
    record: { uuid: UUID, kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 }, sealed: options.sealed ?? null },
    saveRecord(record: LegacyRecord & { readonly sealed: Uint8Array }) {
      if (options.saveFails === true) throw new Error("disk full")
      log.push("saved")
      saved.push(record.sealed)
    },
    enclave: enclave as unknown as Enclave,
    sealPolicy: "mrsigner",
    sealedOnly: options.sealedOnly ?? false,
    attach: ring.attach,
    warn: (message) => void log.push(`warn: ${message}`),
    onLost: () => {},
  })
  /** What the service does of an event waits for nothing but promises. */
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const event = async (each: SetkeyEvent | ForgetEvent) => {
    ring.ask(each)
    await settle()
  }
  const setkey = (id: bigint, bytes: Uint8Array | null, size = 16) =>
    event({ type: "setkey", id, mode: "cbc", size, bytes })
  const unlock = () =>
    service.unlock({
      uuid: UUID,
      slot: null,
      unsealed: false,
      nonce: new Uint8Array(32),
      request: new Uint8Array(32),
      message: new Uint8Array(48),
    })
  const detached = async () => {
    ring.detach()
    await settle()
  }
  log.length = 0
  return { service, log, saved, secrets, open, gone, rejected, event, setkey, unlock, detached }
}

test("setkey's bytes become a key, the salt is saved first, the bytes are wiped", async () => {
  const { log, saved, secrets, setkey } = make()
  const bytes = new Uint8Array(16).fill(3)
  await setkey(1n, bytes)
  assert.deepEqual(log, ["saved", "serve 1 1"])
  assert.deepEqual(saved, [SALT])
  assert.deepEqual(secrets, [new Uint8Array(16).fill(3)])
  assert.deepEqual(bytes, new Uint8Array(16))
})

test("a salt that is on disk already is not written again", async () => {
  const { log, setkey } = make({ sealed: SALT })
  await setkey(1n, new Uint8Array(16))
  assert.deepEqual(log, ["serve 1 1"])
})

test("no key is served whose salt could not be saved", async () => {
  const { log, open, setkey } = make({ saveFails: true })
  await setkey(1n, new Uint8Array(16))
  assert.deepEqual(log, ["warn: no key was made", "refuse 1 5"])
  assert.equal(open.size, 0)
})

test("a size that is no AES key is refused with EINVAL", async () => {
  const { log, setkey } = make()
  await setkey(1n, new Uint8Array(48), 48)
  assert.deepEqual(log, ["warn: no key was made", "refuse 1 22"])
})

test("a key nobody waits for any more is wiped", async () => {
  const { open, gone, setkey } = make({ sealed: SALT })
  gone.add(1n)
  await setkey(1n, new Uint8Array(16))
  assert.equal(open.size, 0)
})

test("forget wipes the key; close is refused before, works after", async () => {
  const { service, open, log, event, setkey } = make({ sealed: SALT })
  await setkey(1n, new Uint8Array(16))
  await assert.rejects(service.release(), { code: "LEGACY_IN_USE", exitCode: 5 })
  await event({ type: "forget", id: 1n })
  assert.equal(open.size, 0)
  await service.release()
  await service.close()
  assert.equal(log.at(-1), "stop")
})

test("the key of a dead daemon cannot be made again from bytes that are gone", async () => {
  const { log, setkey } = make()
  await setkey(1n, null)
  assert.deepEqual(log, ["refuse 1 126"])
})

test("--setkey: mappings wait, each passphrase serves the oldest", async () => {
  const { service, log, secrets, setkey, unlock } = make({ sealedOnly: true, sealed: SALT })
  const dummy = new Uint8Array(16).fill(9)
  await setkey(1n, dummy)
  await setkey(2n, null)
  assert.deepEqual(log, ["hold 1", "hold 2"])
  assert.deepEqual(dummy, new Uint8Array(16), "the dummy is wiped, not used")
  assert.equal(service.status().state, "locked")
  await unlock()
  await unlock()
  assert.deepEqual(log.slice(2), ["release 1 1", "release 2 2"])
  assert.equal(service.status().state, "unlocked")
  assert.ok(secrets.every((secret) => !(secret instanceof Uint8Array) && secret.context.purpose === "legacy"))
})

test("--setkey: a passphrase that comes first serves the next mapping, once", async () => {
  const { log, setkey, unlock } = make({ sealedOnly: true, sealed: SALT })
  await unlock()
  await setkey(1n, new Uint8Array(16))
  await setkey(2n, new Uint8Array(16))
  assert.deepEqual(log, ["serve 1 1", "hold 2"])
})

test("a challenge is for this flow only, and shows what the passphrase is for", async () => {
  for (const sealed of [SALT, null]) {
    const { service } = make({ sealedOnly: true, sealed })
    const { parameters } = await service.challenge("legacy")
    assert.deepEqual(decodeLegacyParameters(parameters), {
      kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
      make: sealed === null ? "mrsigner" : null,
    })
    await assert.rejects(service.challenge("unlock"), { code: "PURPOSE_REFUSED", exitCode: 1 })
  }
})

test("without --setkey a sealed passphrase is refused with the way out", async () => {
  const { unlock } = make()
  await assert.rejects(unlock(), { code: "LEGACY_NOT_SEALED", exitCode: 1 })
})

test("a mapping that went while its passphrase was worked on costs no key", async () => {
  const { open, gone, setkey, unlock } = make({ sealedOnly: true, sealed: SALT })
  await setkey(1n, new Uint8Array(16))
  gone.add(1n)
  await assert.rejects(unlock(), { code: "LEGACY_GONE" })
  assert.equal(open.size, 0)
})

test("--setkey: a mapping removed before its passphrase came is forgotten: close works, the next one is served", async () => {
  const { service, log, event, setkey, unlock } = make({ sealedOnly: true, sealed: SALT })
  await setkey(1n, new Uint8Array(16))
  await setkey(2n, new Uint8Array(16))
  await event({ type: "forget", id: 1n })
  await unlock()
  assert.equal(log.at(-1), "release 2 1")
  await event({ type: "forget", id: 2n })
  await service.release()
})

test("--setkey: a passphrase the mapping was not made with is refused, and the right one still served", async () => {
  const { service, log, open, rejected, setkey, unlock } = make({ sealedOnly: true, sealed: SALT })
  await setkey(1n, null)
  rejected.add(1n)
  await assert.rejects(unlock(), /KEY_REJECTED/)
  assert.equal(open.size, 0, "the wrong key is wiped")
  assert.equal(service.status().state, "locked")
  rejected.clear()
  await unlock()
  assert.equal(log.at(-1), "release 1 2")
})

test("taken for dead, it attaches again and serves the keys it has; those not asked for are wiped at the end", async () => {
  const { service, log, open, setkey, detached } = make({ sealed: SALT })
  await setkey(1n, new Uint8Array(16))
  await setkey(2n, new Uint8Array(16))
  log.length = 0
  await detached()
  assert.deepEqual(log, ["stop", "attach", "warn: the module took this daemon for dead, it serves again"])
  await setkey(2n, null)
  assert.equal(log.at(-1), "serve 2 2")
  assert.equal(service.counters()["keys"], 1)
  await service.close()
  assert.equal(open.size, 0)
})
