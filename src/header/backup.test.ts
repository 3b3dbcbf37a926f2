import assert from "node:assert/strict"
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { restoreHeader } from "./backup.ts"

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
