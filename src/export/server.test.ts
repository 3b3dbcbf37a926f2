import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { createConnection } from "node:net"
import { test } from "node:test"
import { NbdClient } from "../nbd/client.ts"
import { KEY, served } from "../testing/nbd-export.ts"
import { HANDLE, TestEnclave, xts } from "../testing/test-enclave.ts"

test("unaligned writes in flight together leave what OpenSSL encrypts", () =>
  served(async ({ path, store, volume }) => {
    await using client = await NbdClient.connect(path)
    assert.equal(client.size, volume.size)
    const model = xts(KEY, true, 4096, 0, store.bytes)
    const writes: Promise<void>[] = []
    for (let n = 0; n < 64; n++) {
      const bytes = randomBytes(1000)
      model.set(bytes, 500 + n * 1000)
      writes.push(client.write(500 + n * 1000, bytes))
    }
    await Promise.all(writes)
    await client.writeZeroes(123, 300)
    model.fill(0, 123, 423)
    await client.flush()
    assert.deepEqual(await client.read(0, client.size), model)
    assert.deepEqual(Buffer.from(store.bytes), xts(KEY, false, 4096, 0, model))
  }))

test("errors have their NBD number and leave the connection usable", () =>
  served(async ({ path }) => {
    await using client = await NbdClient.connect(path)
    await assert.rejects(client.read(client.size - 1, 2), { code: "EINVAL" })
    await assert.rejects(client.write(client.size - 1, Buffer.alloc(2)), { code: "ENOSPC" })
    await assert.rejects(client.trim(0, 4096), { code: "EINVAL" })
    assert.equal((await client.read(client.size - 1, 1)).length, 1)
  }))

for (const [what, bytes] of [
  ["silence", Buffer.alloc(0)],
  ["half an option", Buffer.from("000000034948415645", "hex")],
  ["a bad option magic", Buffer.from(`00000003${"41".repeat(16)}`, "hex")],
  ["an over-long option", Buffer.from("0000000349484156454f505400000007ffffffff", "hex")],
] as const) {
  test(`a peer that sends ${what} is cut off, another is served`, () =>
    served(async ({ path }) => {
      await using client = await NbdClient.connect(path)
      const peer = createConnection(path)
      peer.on("error", () => {})
      peer.resume()
      const closed = new Promise((resolve) => peer.once("close", resolve))
      peer.write(bytes)
      await closed
      assert.equal((await client.read(0, 16)).length, 16)
    }))
}

test("I/O waits while the volume is locked, and goes on after", () =>
  served(async ({ path, volume }) => {
    await using client = await NbdClient.connect(path)
    await client.write(0, Buffer.from("before"))
    volume.lock()
    let done = false
    const read = client.read(0, 6).then((bytes) => {
      done = true
      return bytes.toString()
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(done, false)
    volume.unlock(new TestEnclave(KEY, 4096).enclave, HANDLE)
    assert.equal(await read, "before")
  }))
