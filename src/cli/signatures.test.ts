import assert from "node:assert/strict"
import { test } from "node:test"
import { findSignature, PROBE_SIZE } from "./signatures.ts"

function device(...parts: readonly (readonly [number, string])[]): Uint8Array {
  const bytes = Buffer.alloc(PROBE_SIZE)
  for (const [offset, magic] of parts) bytes.write(magic, offset, "latin1")
  return bytes
}

test("zeros and random-looking bytes hold nothing", () => {
  assert.equal(findSignature(device()), null)
  assert.equal(findSignature(Buffer.alloc(PROBE_SIZE, 0xa7)), null)
})

test("a device shorter than a signature holds nothing", () => {
  for (let size = 0; size < 6; size++)
    assert.equal(findSignature(Buffer.from("LUKS\xba\xbe", "latin1").subarray(0, size)), null)
})

for (const [name, offset, magic] of [
  ["LUKS", 0, "LUKS\xba\xbe"],
  ["ext2/3/4", 0x438, "\x53\xef"],
  ["XFS", 0, "XFSB"],
  ["btrfs", 0x10040, "_BHRfS_M"],
  ["swap", 4086, "SWAPSPACE2"],
  ["a GPT partition table", 512, "EFI PART"],
] as const) {
  test(`${name} is found at ${offset}, not one byte off`, () => {
    assert.equal(findSignature(device([offset, magic])), name)
    assert.equal(findSignature(device([offset + 1, magic])), null)
  })
}

test("FAT is called FAT, not a partition table", () => {
  assert.equal(findSignature(device([82, "FAT32   "], [510, "\x55\xaa"])), "FAT")
  assert.equal(findSignature(device([510, "\x55\xaa"])), "a partition table")
})
