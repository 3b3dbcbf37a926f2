import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { NbdClient } from "../nbd/client.ts"
import { MemoryStore } from "../store/memory-store.ts"
import { HANDLE, TestEnclave } from "../testing/test-enclave.ts"
import { Volume } from "../volume/volume.ts"
import { OpenVolume } from "./open-volume.ts"

const ABOUT = { path: "test.img", uuid: "", label: "", keySlot: 0 }

function opened(): OpenVolume {
  const volume = new Volume({ store: new MemoryStore(new Uint8Array(1 << 20)), offset: 0, size: null, sectorSize: 512 })
  const { enclave } = new TestEnclave(randomBytes(64), 512)
  volume.unlock(enclave, HANDLE)
  return new OpenVolume(ABOUT, volume, { ...enclave, close: async () => {} })
}

test("two servers begun at once have sockets of their user alone, and leave the umask as it was", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-serve-"))
  const volume = opened()
  const before = process.umask()
  const paths = [join(folder, "one"), join(folder, "two")]
  await Promise.all(paths.map((path) => volume.serve(path)))
  assert.equal(process.umask(), before)
  for (const path of paths) assert.equal(statSync(path).mode & 0o777, 0o600)
  await volume.close()
  rmSync(folder, { recursive: true })
})

test("a volume that is closed serves nobody: its sockets are gone, its clients' connections end", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-serve-"))
  const volume = opened()
  const socket = join(folder, "socket")
  const served = await volume.serve(socket)
  const client = await NbdClient.connect(socket)
  await client.write(512, Buffer.from("written"))
  const late = volume.serve(join(folder, "late"))
  await Promise.all([volume.close(), assert.rejects(late, { code: "ESHUTDOWN" })])
  await client.left
  assert.equal(existsSync(socket), false)
  assert.equal(existsSync(join(folder, "late")), false)
  await assert.rejects(volume.serve(socket), { code: "ESHUTDOWN" })
  // Somebody else's by now.
  const next = opened()
  await next.serve(socket)
  await served.close()
  assert.ok(existsSync(socket))
  await next.close()
  rmSync(folder, { recursive: true })
})
