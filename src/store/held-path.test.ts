import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { deviceNumber } from "../base/device-number.ts"
import { HeldPath } from "./held-path.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-held-"))
after(() => rmSync(folder, { recursive: true, force: true }))

test("removed is true once sysfs has the block device below a file no more", () => {
  const path = join(folder, "disk.img")
  writeFileSync(path, "")
  const sys = join(folder, "sys")
  // On a file system without one block device, which cannot be unplugged.
  const none = new HeldPath(path, sys)
  const device = join(sys, "dev/block", deviceNumber(statSync(path).dev))
  mkdirSync(device, { recursive: true })
  const held = new HeldPath(path, sys)
  assert.deepEqual([none.removed, held.removed], [false, false])
  rmSync(device, { recursive: true })
  assert.deepEqual([none.removed, held.removed], [false, true])
  rmSync(path)
  assert.equal(held.removed, true)
  none.close()
  held.close()
})
