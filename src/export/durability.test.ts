/** What is promised when: order of writes, flushes and answers, and the store's errors on their way to the client. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../nbd/client.ts"
import { NbdStore } from "../store/nbd-store.ts"
import { KEY, RawPeer, served } from "../testing/nbd-export.ts"
import { HANDLE, TestEnclave, xts } from "../testing/test-enclave.ts"

/** Steps of `kind` wait until `open` is called. */
function gate() {
  let open!: () => void
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { open, passed }
}

async function settled(promise: Promise<unknown>, ms = 40): Promise<boolean> {
  return Promise.race([promise.then(() => true), sleep(ms, false)])
}

test("FLUSH is answered after the store has flushed, with the writes answered before", () =>
  served(async ({ path, store }) => {
    await using client = await NbdClient.connect(path)
    await client.write(0, randomBytes(4096))
    assert.deepEqual(store.done, ["write"])
    const { open, passed } = gate()
    store.before = () => passed
    const flush = client.flush()
    assert.equal(await settled(flush), false)
    assert.deepEqual(store.begun.at(-1), { kind: "flush" })
    open()
    await flush
    assert.deepEqual(store.done, ["write", "flush"])
  }))

for (const kind of ["a write", "zeros"]) {
  test(`FUA on ${kind}: written, then flushed, then answered`, () =>
    served(async ({ path, store }) => {
      const peer = await RawPeer.going(path)
      const say = (flags: number) =>
        peer.say(
          kind === "zeros"
            ? RawPeer.request(6, 0n, 4096, { flags })
            : Buffer.concat([RawPeer.request(1, 0n, 4096, { flags }), randomBytes(4096)]),
        )
      say(0)
      assert.equal(await peer.simple(), 0)
      assert.deepEqual(store.done, ["write"])
      const { open, passed } = gate()
      store.before = ({ kind }) => (kind === "flush" ? passed : undefined)
      say(1)
      const answer = peer.simple()
      assert.equal(await settled(answer), false)
      assert.deepEqual(store.done, ["write", "write"])
      assert.deepEqual(store.begun.at(-1), { kind: "flush" })
      open()
      assert.equal(await answer, 0)
      assert.deepEqual(store.done, ["write", "write", "flush"])
      peer.destroy()
    }))
}

test("the store's errors reach the client by name, and the next request is served", () =>
  served(async ({ path, store }) => {
    await using client = await NbdClient.connect(path)
    const page = randomBytes(4096)
    for (const [thrown, told] of [
      ["EIO", "EIO"],
      ["ENOSPC", "ENOSPC"],
      ["EDQUOT", "ENOSPC"],
      ["EFBIG", "ENOSPC"],
      ["ENOMEM", "ENOMEM"],
      ["EREMOTEIO", "EIO"],
      [undefined, "EIO"],
    ] as const) {
      store.before = () => {
        throw Object.assign(new Error("as the test wants"), { code: thrown })
      }
      await assert.rejects(client.write(0, page), { code: told })
      await assert.rejects(client.writeZeroes(0, 4096), { code: told })
      await assert.rejects(client.read(0, 4096), { code: told })
      await assert.rejects(client.flush(), { code: told })
      store.before = () => {}
      await client.write(0, page)
      assert.deepEqual(await client.read(0, 4096), page)
    }
  }))

test("a structured error says in words what happened", () =>
  served(async ({ path, store }) => {
    const peer = await RawPeer.going(path, { structured: true })
    store.before = () => {
      throw new Error("the disk is on fire")
    }
    peer.say(RawPeer.request(0, 0n, 512))
    const { type, payload } = await peer.chunk()
    assert.equal(type, 0x8001)
    assert.equal(payload.readUInt32BE(0), 5)
    assert.equal(payload.toString("utf8", 6), "the disk is on fire")
    assert.equal(payload.readUInt16BE(4), payload.length - 6)
    store.before = () => {}
    peer.destroy()
  }))

test("structured replies carry data, nothing and the status of blocks", () =>
  served(async ({ path, volume }) => {
    const written = randomBytes(5000)
    await volume.write(100, written)
    const peer = await RawPeer.going(path, { structured: true })
    for (const flags of [0, 4]) {
      peer.say(RawPeer.request(0, 100n, 5000, { flags }))
      const { type, payload } = await peer.chunk()
      assert.equal(type, 1)
      assert.equal(payload.readBigUInt64BE(0), 100n)
      assert.deepEqual(payload.subarray(8), written)
    }
    peer.say(RawPeer.request(0, 100n, 0))
    assert.deepEqual(await peer.chunk(), { type: 0, payload: Buffer.alloc(0) })
    for (const flags of [0, 8]) {
      peer.say(RawPeer.request(7, 512n, 8192, { flags }))
      const { type, payload } = await peer.chunk()
      assert.equal(type, 5)
      assert.equal(payload.toString("hex"), "000000010000200000000000")
    }
    peer.say(RawPeer.request(7, 0n, 0))
    assert.equal((await peer.chunk()).payload.readUInt32BE(0), 22)
    peer.destroy()
  }))

test("CACHE reads the ciphertext, keeps nothing and needs no key", () =>
  served(async ({ path, volume, store }) => {
    const peer = await RawPeer.going(path)
    volume.lock()
    peer.say(RawPeer.request(5, 4000n, 200))
    assert.equal(await peer.simple(), 0)
    assert.deepEqual(store.begun, [{ kind: "read", offset: 0, length: 8192 }])
    peer.destroy()
  }))

test("a discard gives whole sectors back, where it is allowed", () =>
  served(
    async ({ path, store }) => {
      await using client = await NbdClient.connect(path)
      assert.equal(client.trims, true)
      await client.trim(4000, 8300)
      assert.deepEqual(store.begun, [{ kind: "discard", offset: 4096, length: 8192 }])
      await client.trim(1, 4096)
      assert.equal(store.begun.length, 1)
    },
    { discards: true },
  ))

test("a lost enclave fails requests with EIO after its grace, a new one serves again", () =>
  served(
    async ({ path, volume, enclave }) => {
      await using client = await NbdClient.connect(path)
      const page = randomBytes(4096)
      await client.write(0, page)
      enclave.alive = false
      await assert.rejects(client.read(0, 4096), { code: "EIO" })
      assert.equal(volume.state, "failed")
      await assert.rejects(client.write(0, page), { code: "EIO" })
      volume.unlock(new TestEnclave(KEY, 4096).enclave, HANDLE)
      assert.deepEqual(await client.read(0, 4096), page)
    },
    { keyGraceMs: 50 },
  ))

test("closing answers what is in work, flushes, and ends the connections", () =>
  served(async ({ path, volume, store, server }) => {
    const peer = await RawPeer.going(path)
    const { open, passed } = gate()
    store.before = () => passed
    peer.say(Buffer.concat([RawPeer.request(1, 0n, 4096), Buffer.alloc(4096, 1)]))
    while (store.begun.length === 0) await sleep(1)
    const closed = server.close()
    assert.equal(await settled(closed), false)
    open()
    assert.equal(await peer.simple(), 0)
    await peer.cutOff()
    await closed
    await volume.close()
    assert.deepEqual(store.done, ["write", "flush"])
    await assert.rejects(volume.read(0, 1), { code: "ESHUTDOWN" })
  }))

test("a store behind NBD gives writes again that a failed flush may have dropped", () =>
  served(async ({ path, store }) => {
    const remote = await NbdStore.open({ at: { path }, exportName: "" })
    const first = randomBytes(8192)
    const second = randomBytes(4096)
    await remote.write(0, first)
    await remote.write(4096, second)
    store.before = ({ kind }) => {
      // The kernel drops dirty pages it could not write, and reports it once.
      if (kind === "flush") {
        store.bytes.fill(0)
        throw Object.assign(new Error("lost"), { code: "EIO" })
      }
    }
    await assert.rejects(remote.flush(), { code: "EIO" })
    store.before = () => {}
    await remote.flush()
    const expected = Buffer.concat([first.subarray(0, 4096), second])
    assert.deepEqual(xts(KEY, true, 4096, 0, store.bytes.subarray(0, 8192)), expected)
    const before = store.begun.length
    await remote.flush()
    assert.deepEqual(store.begun.slice(before), [{ kind: "flush" }])
    await remote.close()
  }))
