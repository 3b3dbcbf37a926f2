/** As root: one file reached as a file, by loop devices, by qemu and by nbdkit. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../../src/nbd/client.ts"
import { overlap } from "../../src/store/extent.ts"
import { openStore } from "../../src/store/open.ts"
import { Place } from "../cli/harness.ts"
import { run, succeed } from "../nbd/harness.ts"
import { Nbdkit } from "./nbdkit.ts"

const MIB = 1 << 20
const writing = { readOnly: false, direct: false }
const busy = { code: "STORE_BUSY", exitCode: 5 }

async function withFile(body: (file: string, loop: (...options: string[]) => Promise<string>) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), "tresor-claim-"))
  const file = join(folder, "file")
  writeFileSync(file, "")
  truncateSync(file, 8 * MIB)
  const loops: string[] = []
  try {
    await body(file, async (...options) => {
      const device = (await succeed("losetup", "--find", "--show", ...options, file)).trim()
      loops.push(device)
      return device
    })
  } finally {
    for (const device of loops) await run("losetup", "--detach", device)
    rmSync(folder, { recursive: true })
  }
}

test("a file and its loop devices are one store, in every order", () =>
  withFile(async (file, loop) => {
    const first = await openStore(file, writing)
    const one = await loop()
    await assert.rejects(openStore(one, writing), { ...busy, message: new RegExp(`backing file ${file} is in use`) })
    await first.close()

    const onLoop = await openStore(one, writing)
    await assert.rejects(openStore(file, writing), busy)
    const two = await loop()
    await assert.rejects(openStore(two, writing), { ...busy, message: new RegExp(`in use by .*${one}`) })
    await onLoop.close()
    await (await openStore(two, writing)).close()
    // Attached and used by nobody: but what mounts it next would not ask us.
    await assert.rejects(openStore(file, writing), { ...busy, message: new RegExp(`${one}, ${two}; end it first`) })
  }))

test("parts of one file behind loop devices are stores of their own", () =>
  withFile(async (_, loop) => {
    const [one, two, again] = [
      await loop("--offset", String(MIB), "--sizelimit", String(MIB)),
      await loop("--offset", String(4 * MIB)),
      await loop("--offset", String(4 * MIB)),
    ]
    const stores = [await openStore(one, writing), await openStore(two, writing)]
    await assert.rejects(openStore(again, writing), busy)
    for (const store of stores) await store.close()
  }))

test("a partition of a loop device is a part of its file, whatever reaches that", () =>
  withFile(async (file, loop) => {
    const whole = await loop("--offset", String(MIB))
    // From byte 2 MiB of the file on.
    await succeed("addpart", whole, "1", "2048", "4096")
    try {
      const part = `${whole}p1`
      const again = await loop("--offset", String(2 * MIB))
      const beside = await loop("--offset", String(4 * MIB))
      const bytes = (path: string, offset: number, size: number) => ({
        path,
        offset: BigInt(offset),
        size: BigInt(size),
      })
      assert.equal(overlap(bytes(file, 2 * MIB, 512), bytes(part, 0, 512)), true)
      assert.equal(overlap(bytes(file, 2 * MIB - 512, 512), bytes(part, 0, 512)), false)
      assert.equal(overlap(bytes(again, 0, 512), bytes(part, 0, 512)), true)
      const stores = [await openStore(part, writing), await openStore(beside, writing)]
      await assert.rejects(openStore(again, writing), { ...busy, message: /backing file .* is in use/ })
      for (const store of stores) await store.close()
    } finally {
      await run("delpart", whole, "1")
    }
  }))

test("qemu's programs and we keep off each other's images", () =>
  withFile(async (file) => {
    const socket = `${file}.sock`
    const qemu = spawn("qemu-nbd", ["-f", "raw", "-t", "-k", socket, file], { stdio: "ignore" })
    try {
      while (statSync(socket, { throwIfNoEntry: false }) === undefined) await sleep(20)
      await assert.rejects(openStore(file, writing), { ...busy, message: /qemu-nbd \(process \d+\)/ })
      await assert.rejects(openStore(file, { ...writing, readOnly: true }), busy)
    } finally {
      qemu.kill()
      await new Promise((resolve) => qemu.once("exit", resolve))
    }
    const store = await openStore(file, writing)
    const { status, stderr } = await run("qemu-io", "-f", "raw", "-c", "write 0 4k", file)
    assert.notEqual(status, 0)
    assert.match(stderr, /lock/)
    await store.close()
    await succeed("qemu-io", "-f", "raw", "-c", "write 0 4k", file)
  }))

test("a file that nbdkit serves is in use", () =>
  withFile(async (file) => {
    const nbdkit = new Nbdkit(join(file, ".."), "file", file)
    await nbdkit.start()
    try {
      // nbdkit opens it for each connection.
      await using client = await NbdClient.connect(nbdkit.socket)
      await client.read(0, 512)
      await assert.rejects(openStore(file, writing), { ...busy, message: /nbdkit \(process \d+\)/ })
    } finally {
      await nbdkit.kill()
    }
  }))

test("a discard that is not aligned to a device with sectors of 4096 is rounded inwards", () =>
  withFile(async (file, loop) => {
    const content = randomBytes(8 * MIB)
    writeFileSync(file, content)
    const store = await openStore(await loop("--sector-size", "4096"), writing)
    await store.discard(MIB + 512, 64 << 10)
    await store.discard(2 * MIB + 512, 2048)
    await store.flush()
    content.fill(0, MIB + 4096, MIB + (64 << 10))
    assert.ok(readFileSync(file).equals(content))
    await store.close()
  }))

const place = new Place()

test("tresord never extends a file that was truncated, nor reads what it lost as garbage", async () => {
  const { path, keyFile } = await place.volume("cut.img")
  assert.equal((await place.tresor(["open", path, "cut", "--key-file", keyFile])).code, 0)
  {
    await using client = await NbdClient.connect(join(place.runtime, "cut", "nbd.sock"))
    const page = randomBytes(4096)
    await client.write(0, page)
    await client.write(client.size - 4096, page)
    const cut = 24 * MIB
    truncateSync(path, cut)
    for (const offset of [client.size - 4096, client.size - MIB]) {
      for (const length of [4096, 512 << 10]) {
        if (offset + length > client.size) continue
        await assert.rejects(client.write(offset, randomBytes(length)), { code: "EIO" })
        await assert.rejects(client.read(offset, length), { code: "EIO" })
      }
    }
    assert.equal(statSync(path).size, cut)
    assert.ok((await client.read(0, 4096)).equals(page))
  }
  await place.tresor(["close", "cut"])
})

test("a volume is open once, also when its runtime directory was lost or is another one", async () => {
  const { path, keyFile } = await place.volume("once.img")
  assert.equal((await place.tresor(["open", path, "once", "--key-file", keyFile])).code, 0)
  const other = { TRESOR_RUNTIME_DIR: place.path("other") }
  const again = await place.tresor(["open", path, "twice", "--key-file", keyFile], { env: other })
  assert.equal(again.code, 5, again.stderr)
  assert.match(again.stderr, /in use by .*\(process \d+\)/)
  assert.equal((await place.tresor(["close", "once"])).code, 0)
})
