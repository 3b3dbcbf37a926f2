import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { CrashingStore } from "../testing/crashing-store.ts"
import { probeByBlkid } from "./blkid.ts"
import { findSignature, findUnknownToBlkid } from "./signatures.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-signatures-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const SIZE = (32 << 20) + 3 * 4096

function device(...parts: readonly (readonly [number, string])[]): CrashingStore {
  const bytes = Buffer.alloc(SIZE)
  for (const [offset, magic] of parts) bytes.write(magic, offset < 0 ? SIZE + offset : offset, "latin1")
  return new CrashingStore(new Uint8Array(bytes))
}

const find = (from: CrashingStore) => findSignature(from, { luks: true })

test("zeros and random-looking bytes hold nothing", async () => {
  assert.equal(await find(device()), null)
  assert.equal(await find(new CrashingStore(new Uint8Array(1 << 20).fill(0xa7))), null)
})

test("a device shorter than a signature holds nothing", async () => {
  for (let size = 0; size < 6; size++) {
    assert.equal(await find(new CrashingStore(new TextEncoder().encode("LUKS").subarray(0, size))), null)
  }
})

/** Offsets below zero count from the end of the device. */
const places = [
  ["LUKS", 0, "LUKS\xba\xbe"],
  ["LUKS2 (second header)", 4 << 20, "SKUL\xba\xbe"],
  ["ext2/3/4", 0x438, "\x53\xef"],
  ["XFS", 0, "XFSB"],
  ["btrfs", 0x10040, "_BHRfS_M"],
  ["swap", 4086, "SWAPSPACE2"],
  ["LVM", 512, "LABELONE"],
  ["a GPT partition table", 512, "EFI PART"],
  ["a GPT partition table", -512, "EFI PART"],
  ["a GPT partition table", -4096, "EFI PART"],
  ["Linux RAID", 4096, "\xfc\x4e\x2b\xa9"],
  ["Linux RAID", -8192, "\xfc\x4e\x2b\xa9"],
  ["Linux RAID", (SIZE & ~65535) - 65536, "\xfc\x4e\x2b\xa9"],
  ["Intel RAID", -1024, "Intel Raid ISM Cfg Sig. "],
  ["DDF RAID", -512, "\xde\x11\xde\x11"],
  ["DRBD", -4096 + 60, "\x83\x74\x02\x6d"],
  ["ZFS", 131072 + 7 * 1024, "\x0c\xb1\xba\0\0\0\0\0"],
  ["ZFS", (SIZE & ~262143) - 131072, "\x0c\xb1\xba\0\0\0\0\0"],
] as const

for (const [name, offset, magic] of places) {
  test(`${name} is found at ${offset}, not one byte off`, async () => {
    assert.equal(await find(device([offset, magic])), name)
    assert.equal(await find(device([offset - 1, magic])), null)
  })
}

test("LUKS counts only where it is asked for", async () => {
  const luks = device([0, "LUKS\xba\xbe"], [0x4000, "SKUL\xba\xbe"])
  assert.equal(await findSignature(luks, { luks: false }), null)
  assert.equal(
    await findSignature(device([0, "LUKS\xba\xbe"], [4096, "\xfc\x4e\x2b\xa9"]), { luks: false }),
    "Linux RAID",
  )
})

test("FAT is called FAT, not a partition table", async () => {
  assert.equal(await find(device([82, "FAT32   "], [510, "\x55\xaa"])), "FAT")
  assert.equal(await find(device([510, "\x55\xaa"])), "a partition table")
})

/** As blkid(8) and we see a file; blkid first. */
async function both(name: string, make: (path: string) => void): Promise<readonly [string | null, string | null]> {
  const path = join(folder, name)
  make(path)
  const fd = openSync(path, "r")
  try {
    const bytes = spawnSync("cat", [path], { maxBuffer: 128 << 20 }).stdout
    return [await probeByBlkid(fd, { luks: true }), await find(new CrashingStore(new Uint8Array(bytes)))]
  } finally {
    closeSync(fd)
  }
}

const run = (command: string, ...args: string[]) => {
  const done = spawnSync(command, args, { encoding: "utf8" })
  assert.equal(done.status, 0, `${command}: ${done.stderr}`)
}

test("what mkfs, mkswap, sfdisk and cryptsetup make is found by blkid and by us", async () => {
  const empty = (path: string) => writeFileSync(path, new Uint8Array(32 << 20))
  const made: readonly (readonly [string, (path: string) => void, string, RegExp])[] = [
    ["ext4", (path) => run("mkfs.ext4", "-q", path), "ext4", /ext2/],
    ["swap", (path) => run("mkswap", path), "swap", /swap/],
    ["gpt", (path) => gpt(path), "a partition table (gpt)", /GPT/],
  ]
  for (const [name, make, theirs, ours] of made) {
    const [blkid, own] = await both(name, (path) => {
      empty(path)
      make(path)
    })
    assert.equal(blkid, theirs)
    assert.match(own ?? "", ours)
  }
  const [blkid, own] = await both("nothing", empty)
  assert.deepEqual([blkid, own], ["nothing", null])
})

function gpt(path: string): void {
  const done = spawnSync("sfdisk", ["-q", path], { input: "label: gpt\n", encoding: "utf8" })
  assert.equal(done.status, 0, done.stderr)
}

test("a GPT of which only the copy at the end is left is found, which blkid passes over", async () => {
  const [blkid, own] = await both("gpt-end", (path) => {
    writeFileSync(path, new Uint8Array(32 << 20))
    gpt(path)
    run("dd", "if=/dev/zero", `of=${path}`, "bs=1M", "count=1", "conv=notrunc", "status=none")
  })
  assert.deepEqual([blkid, own], ["nothing", "a GPT partition table"])
  const end = device([-512, "EFI PART"])
  assert.equal(await findUnknownToBlkid(end, { luks: true }), "a GPT partition table")
  assert.equal(await findUnknownToBlkid(end, { luks: false }), null, "wipefs could not remove it either")
})

test("a qcow2 image, which blkid does not know, is found", async () => {
  assert.equal(await findUnknownToBlkid(device([0, "QFI\xfb"]), { luks: false }), "a qcow2 image")
})

test("without blkid, the probe says that it cannot tell", async () => {
  const fd = openSync(import.meta.filename, "r")
  assert.equal(await probeByBlkid(fd, { luks: true }, "blkid-that-is-not-there"), null)
  assert.equal(await probeByBlkid(fd, { luks: true }, "false"), null)
  closeSync(fd)
})
