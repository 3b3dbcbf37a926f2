import assert from "node:assert/strict"
import { statSync } from "node:fs"
import { test } from "node:test"
import { deviceNumber } from "./device-number.ts"

test("the number of a device is the kernel's", () => {
  for (const [path, number] of [
    ["/dev/null", "1:3"],
    ["/dev/zero", "1:5"],
    ["/dev/tty", "5:0"],
  ] as const) {
    assert.equal(deviceNumber(statSync(path).rdev), number)
    assert.equal(deviceNumber(statSync(path, { bigint: true }).rdev), number)
  }
})

test("numbers above the old 16 bits are glibc's makedev(3)", () => {
  // By Python's os.makedev.
  assert.equal(deviceNumber(0x811), "8:17")
  assert.equal(deviceNumber(0x11032c), "259:300")
  assert.equal(deviceNumber(0x1001_0003_8800n), "5000:1048576")
})
