import assert from "node:assert/strict"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { dropCaches, requireDisk } from "./caches.ts"

test("the page cache is emptied by what proc(5) says", () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-caches-"))
  try {
    const path = join(folder, "drop_caches")
    writeFileSync(path, "0")
    dropCaches(path)
    assert.equal(readFileSync(path, "utf8"), "3")
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("a page cache that cannot be emptied ends the benchmark, with what to do", () => {
  assert.throws(() => dropCaches("/dev/full"), {
    message:
      "Cannot empty the page cache: /dev/full: no space left on device; run the benchmark as root, outside a container",
  })
  assert.throws(() => dropCaches("/proc/no such file"), /: no such file or directory; run the benchmark as root/)
})

test("a folder in memory is refused", () => {
  assert.throws(() => requireDisk("/dev/shm"), /it is tmpfs; name a folder on a disk with --folder/)
  requireDisk("/proc/self/cwd")
})
