import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { Exit, TresorError } from "../base/errors.ts"
import { ControlClient } from "../control/client.ts"
import { ControlServer } from "../control/server.ts"
import { VarlinkError } from "../control/varlink.ts"
import { VOLUME_DESCRIPTION, type VolumeInput, type VolumeStatus, volumeMethods } from "../control/volume.ts"
import { VolumeClient } from "../control/volume-client.ts"
import { aesmd, quote, report, serveAesmd } from "../testing/aesmd.ts"
import { type DaemonVolume, refusal, volumeInterface } from "./service.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-service-"))
after(() => rmSync(folder, { recursive: true }))

/** A volume that remembers what it was asked. */
class Recorder implements DaemonVolume {
  state: VolumeStatus["state"] = "locked"
  removed = false
  backend: VolumeStatus["enclave"]["backend"] = "software"
  readonly asked: unknown[] = []
  readonly #waiting = new Set<() => void>()

  status(): VolumeStatus {
    return {
      name: "work",
      path: "/disk.img",
      opened: [{ path: "/disk.img", identity: "file 7 9" }],
      uuid: "9c1f1ee9-6b5e-4a1e-a63c-cf6c2b4b2b35",
      label: "",
      state: this.state,
      pid: 7,
      export: "nbd",
      uri: "nbd+unix:///?socket=/run/tresor/work/nbd.sock",
      socket: "/run/tresor/work/nbd.sock",
      size: 2 ** 53 - 1,
      sectorSize: 4096,
      cipher: "aes-xts-plain64",
      keySize: 64,
      readonly: false,
      discards: false,
      since: "2026-11-23T00:00:00.000Z",
      keyslot: null,
      header: null,
      enclave: {
        backend: this.backend,
        mrenclave: "00".repeat(32),
        mrsigner: "11".repeat(32),
        isvProdId: 1,
        isvSvn: 1,
        cpuSvn: "22".repeat(16),
        debug: true,
        xfrm: 0xffffffffffffffffn,
        publicKey: new Uint8Array(32).fill(9),
        aes: "aesni",
        kdfMemoryKib: 1048576,
        memory: { keys: "memfd_secret", stacks: "memfd_secret", heap: "memfd_secret" },
      },
      transitionCycles: 14_000,
      disk: {
        engine: "threads",
        refusal: "EPERM",
        underWay: 1,
        deepest: 32,
        bound: 256,
        stranded: 0,
        failed: null,
        threads: 2,
      },
      server: { state: "waiting", reason: "the NBD server does not answer" },
      lease: { name: "ceph:rbd/work", owner: "a:7:00", state: "held", seconds: 49, reason: null },
      device: "/dev/ublkb0",
      reencryption: null,
      counters: { reads: 3 },
    }
  }

  async challenge(purpose: string) {
    this.asked.push(purpose)
    const { enclave } = this.status()
    return { nonce: new Uint8Array(32).fill(5), parameters: new Uint8Array(40).fill(6), enclave }
  }

  async report(targetInfo: Uint8Array, nonce: Uint8Array) {
    this.asked.push([targetInfo.length, nonce.length])
    return { report, enclave: this.status().enclave }
  }

  async predecessors() {
    return [{ mrenclave: "ab".repeat(32), slots: [3], kept: true }]
  }

  async succeed(request: VolumeInput<"Succeed">) {
    this.asked.push(request)
    return 3
  }

  async unlock(request: VolumeInput<"Unlock">) {
    this.asked.push(request)
    if (request.message[0] === 0) throw new TresorError("ENCLAVE_PASSPHRASE", Exit.denied, "No key")
    this.state = "unlocked"
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  async reencrypt(request: VolumeInput<"Reencrypt">) {
    this.asked.push(request)
  }

  async pause() {
    this.asked.push("pause")
  }

  async lockIfRemoved() {
    if (this.removed) this.state = "failed"
    return this.removed
  }

  async lock() {
    this.state = "locked"
  }

  async resize() {
    return 4096
  }

  changed(signal: AbortSignal) {
    return new Promise<void>((resolve, reject) => {
      this.#waiting.add(resolve)
      signal.addEventListener("abort", () => reject(signal.reason))
    })
  }
}

const aesmSocket = join(folder, "aesm.socket")
let sockets = 0
async function serve() {
  const volume = new Recorder()
  const path = join(folder, `${++sockets}.sock`)
  const server = await ControlServer.listen({
    listen: { path },
    info: { vendor: "", product: "", version: "", url: "" },
    interfaces: [volumeInterface(volume, async () => {}, { aesmSocket })],
    translate: refusal,
  })
  return { volume, path, server, client: new VolumeClient(await ControlClient.connect(path), "work") }
}

const zeros = Buffer.alloc(32).toString("base64")
const unlock = { uuid: "u", slot: null, unsealed: true, nonce: zeros, request: zeros, message: "AAAA" }

test("a status survives the wire, 64-bit XFRM and bytes too", async () => {
  const { client, volume, server } = await serve()
  const sent = volume.status()
  assert.deepEqual(await client.status(), { ...sent, enclave: { ...sent.enclave, publicKey: Buffer.alloc(32, 9) } })
  client[Symbol.dispose]()
  await server.close()
})

test("lock says whether there were keys; ifRemoved locks only without the device", async () => {
  const { volume, client, server } = await serve()
  assert.deepEqual(await client.call("Lock"), { wiped: false })
  volume.state = "unlocked"
  assert.deepEqual(await client.call("Lock", { ifRemoved: true }), { wiped: false })
  assert.equal(volume.state, "unlocked")
  volume.removed = true
  assert.deepEqual(await client.call("Lock", { ifRemoved: true }), { wiped: true })
  assert.equal(volume.state, "failed")
  volume.state = "unlocked"
  assert.deepEqual(await client.call("Lock"), { wiped: true })
  assert.equal(volume.state, "locked")
  client[Symbol.dispose]()
  await server.close()
})

test("unlock passes bytes on; the enclave's no arrives with its code and exit code", async () => {
  const { client, volume, server } = await serve()
  const base64 = (byte: number, length: number) => Buffer.alloc(length, byte).toString("base64")
  const request = {
    uuid: "u",
    slot: 3,
    unsealed: false,
    nonce: base64(1, 32),
    request: base64(3, 32),
    message: base64(2, 100),
  }
  assert.equal((await client.call("Unlock", request)).volume.state, "unlocked")
  assert.deepEqual(volume.asked, [
    { ...request, nonce: Buffer.alloc(32, 1), request: Buffer.alloc(32, 3), message: Buffer.alloc(100, 2) },
  ])
  await assert.rejects(
    client.call("Unlock", { ...request, message: base64(0, 100) }),
    (error) => error instanceof TresorError && error.code === "ENCLAVE_PASSPHRASE" && error.exitCode === Exit.denied,
  )
  client[Symbol.dispose]()
  await server.close()
})

for (const [what, method, parameters, field] of [
  ["a nonce of 31 bytes", "Unlock", { ...unlock, nonce: Buffer.alloc(31).toString("base64") }, "nonce"],
  ["no base64", "Unlock", { ...unlock, nonce: "!" }, "nonce"],
  ["slot 32", "Unlock", { ...unlock, slot: 32 }, "slot"],
  ["no digest of the request", "Unlock", { ...unlock, request: "" }, "request"],
  ["no word on unsealed keyslots", "Unlock", { ...unlock, unsealed: undefined }, "unsealed"],
  ["a uuid of 40 letters", "Unlock", { ...unlock, uuid: "x".repeat(40) }, "uuid"],
  ["the purpose create", "Challenge", { purpose: "create" }, "purpose"],
  ["a word for yes", "Lock", { ifRemoved: "yes" }, "ifRemoved"],
  ["an unknown parameter", "Lock", { force: true }, "force"],
] as const) {
  test(`${method} with ${what} is refused and named, and the volume is not asked`, async () => {
    const { volume, path, server } = await serve()
    using client = await ControlClient.connect(path)
    const error = await client.call(`io.tresor.Volume.${method}`, parameters).catch((reason: unknown) => reason)
    assert.ok(error instanceof VarlinkError)
    assert.deepEqual([error.error, error.parameters], ["org.varlink.service.InvalidParameter", { parameter: field }])
    assert.deepEqual(volume.asked, [])
    client.close()
    await server.close()
  })
}

test("watch tells the state now and when it changes", async () => {
  const { client, path, server } = await serve()
  const watched: string[] = []
  const watching = (async () => {
    for await (const { state } of client.watch()) {
      watched.push(state)
      if (watched.length === 2) break
    }
  })()
  using other = new VolumeClient(await ControlClient.connect(path), "work")
  while (watched.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await other.call("Unlock", { ...unlock, message: "AQEB" })
  await watching
  assert.deepEqual(watched, ["locked", "unlocked"])
  client[Symbol.dispose]()
  await server.close(0)
})

test("a quote is made where the enclave runs, by that machine's aesmd; the software backend has none", async () => {
  const { client, volume, server } = await serve()
  const nonce = Buffer.alloc(32, 3).toString("base64")
  await assert.rejects(client.call("Quote", { nonce }), { code: "ATTEST_NO_QUOTE", exitCode: 2 })
  await assert.rejects(client.call("Quote", { nonce: "AAAA" }), { code: "CONTROL_PROTOCOL" })
  volume.backend = "sgx"
  await assert.rejects(client.call("Quote", { nonce }), { code: "AESM_MISSING", message: /sgx-aesm-service/ })
  const daemon = await serveAesmd(aesmSocket, aesmd().answer)
  assert.deepEqual(Buffer.from((await client.call("Quote", { nonce })).quote), quote)
  assert.deepEqual(volume.asked.at(-1), [512, 32])
  daemon.close()
  client[Symbol.dispose]()
  await server.close()
})

test("the description names every method there is, and no other", () => {
  const described = [...VOLUME_DESCRIPTION.matchAll(/^method (\w+)/gm)].map(([, name]) => name).sort()
  assert.deepEqual(described, Object.keys(volumeMethods).sort())
  const recorder = Object.assign(new Recorder(), { approve: async () => 0 })
  const upgrade = async () => ({ pid: 1, version: "", mrenclave: "" })
  assert.deepEqual(described, Object.keys(volumeInterface(recorder, async () => {}, { upgrade }).methods).sort())
})
