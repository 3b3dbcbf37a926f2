/** As root: a volume on a disk whose writes take long, by nbdkit's delay filter and FUSE. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { NbdClient } from "../../src/nbd/client.ts"
import { Nbdkit } from "../store/nbdkit.ts"
import { Place, run, until } from "./harness.ts"

const place = new Place()
const WRITE_MS = 300
const WRITES = 10

test("while the disk is slow, others are answered during the writes", async () => {
  const { path, keyFile } = await place.volume("slow.img")
  const nbdkit = new Nbdkit(place.folder, "--filter=delay", "file", path, `delay-write=${WRITE_MS}ms`)
  const directory = place.path("fuse")
  mkdirSync(directory)
  await nbdkit.start()
  const disk = join(directory, "disk")
  spawn("nbdfuse", [disk, `nbd+unix:///?socket=${nbdkit.socket}`], { stdio: "ignore" })
  try {
    await until("nbdfuse to show the disk", () => existsSync(disk))
    const opened = await place.tresor(["open", disk, "slow", "--key-file", keyFile])
    assert.equal(opened.code, 0, opened.stderr)
    const socket = join(place.runtime, "slow", "nbd.sock")

    const writer = await NbdClient.connect(socket)
    let writing = true
    const writes = (async () => {
      for (let n = 0; n < WRITES; n++) await writer.write(n * 4096, Buffer.alloc(4096, n))
      writing = false
    })()
    const began = performance.now()
    let waited = 0
    while (writing) {
      const asked = performance.now()
      const other = await NbdClient.connect(socket)
      await other[Symbol.asyncDispose]()
      const took = performance.now() - asked
      if (took > WRITE_MS / 2) waited += took
    }
    await writes
    assert.ok(performance.now() - began >= WRITES * WRITE_MS, "the disk was not slow")
    assert.ok(waited < WRITE_MS, `others were kept waiting for ${waited} of ${WRITES * WRITE_MS} ms`)
    assert.deepEqual(await writer.read((WRITES - 1) * 4096, 4096), Buffer.alloc(4096, WRITES - 1))
    await writer[Symbol.asyncDispose]()
  } finally {
    await place.tresor(["close", "slow"])
    await run("umount", [directory])
    await nbdkit.kill()
  }
})
