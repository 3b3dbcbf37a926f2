import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { MemoryStore } from "../store/memory-store.ts"
import { FakeEnclave } from "../testing/fake-enclave.ts"
import { makeSmall, SMALL_OFFSET } from "../testing/small-volume.ts"
import { backupHeader, restoreHeader } from "./backup.ts"
import { HeaderStore } from "./header-store.ts"
import { openForHeader } from "./open.ts"

/** Descriptors of this process that lead to `path`. */
function openOn(path: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  }).length
}

test("a restore that finds no device leaves the backup closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-backup-"))
  const file = join(folder, "backup")
  writeFileSync(file, new Uint8Array(4096))
  const options = { force: false, detached: false, putAside: folder }
  await assert.rejects(restoreHeader(join(folder, "none"), file, options), { code: "STORE_MISSING" })
  assert.equal(openOn(file), 0)
  await assert.rejects(restoreHeader(file, file, options), { exitCode: 4 })
  assert.equal(openOn(file), 0)
  rmSync(folder, { recursive: true })
})

/** A folder with a volume, its backup, and a directory for what is put aside; `change`: of the header, before the backup. */
async function volumeIn(change: { readonly uuid?: string } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tresor-backup-"))
  const [path, file, aside] = [join(folder, "volume"), join(folder, "backup"), join(folder, "aside")]
  const enclave = new FakeEnclave()
  const image = new MemoryStore(new Uint8Array(SMALL_OFFSET + 8192))
  const keys = { keySize: 64, sectorSize: 512 } as const
  const store = await makeSmall(enclave, enclave.seal, image, new TextEncoder().encode("secret"), keys)
  await store.update(async (header) => ({ header: { ...header, ...change } }))
  writeFileSync(path, image.bytes)
  mkdirSync(aside)
  await backupHeader(path, file)
  return { folder, path, file, aside }
}

test("a header that another program changes while the user is asked is not replaced", async () => {
  const { folder, path, file, aside } = await volumeIn()
  const change = async () => {
    const device = await openForHeader(path, { readOnly: false })
    try {
      await (await HeaderStore.open(device)).update(async (header) => ({ header: { ...header, label: "theirs" } }))
    } finally {
      await device.close()
    }
  }
  const options = { force: false, detached: false, putAside: aside }
  await assert.rejects(restoreHeader(path, file, { ...options, agree: change }), { code: "LUKS2_CHANGED", exitCode: 5 })
  const device = await openForHeader(path, { readOnly: true })
  assert.equal((await HeaderStore.open(device)).header.label, "theirs")
  await device.close()
  await restoreHeader(path, file, options)
  assert.deepEqual(readdirSync(aside), [])
  rmSync(folder, { recursive: true })
})

test("what is put aside stays in its directory, whatever the backup's UUID is", async () => {
  const { folder, path, file, aside } = await volumeIn({ uuid: "/../../outside" })
  // The write fails, which leaves what was put aside.
  truncateSync(path, SMALL_OFFSET)
  const progress = () => {
    throw new Error("no more")
  }
  const options = { force: false, detached: false, putAside: aside, progress }
  await assert.rejects(restoreHeader(path, file, options), { code: "RESTORE_FAILED" })
  assert.deepEqual(readdirSync(folder).sort(), ["aside", "backup", "volume"])
  assert.equal(readdirSync(aside).length, 1)
  rmSync(folder, { recursive: true })
})
