/** Sizes of filesystems, against the programs that make them where they are installed. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { FileStore } from "./file-store.ts"
import { filesystemSize } from "./filesystem-size.ts"
import { MemoryStore } from "./memory-store.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-filesystem-"))
after(() => rmSync(folder, { recursive: true }))

async function made(command: string, ...args: string[]) {
  const path = join(folder, "disk.img")
  writeFileSync(path, "")
  truncateSync(path, 512 << 20)
  const { status, stderr } = spawnSync(command, [...args.map((arg) => (arg === "DISK" ? path : arg))])
  assert.equal(status, 0, String(stderr))
  const store = await FileStore.open(path, { readOnly: true, claim: "none" })
  try {
    return await filesystemSize(store)
  } finally {
    await store.close()
  }
}

test("ext4 says how large it is, with blocks of 1 and 4 KiB, with 64-bit numbers and without", async () => {
  for (const options of [
    ["-b", "1024"],
    ["-b", "4096", "-O", "64bit"],
    ["-b", "4096", "-O", "^64bit"],
  ]) {
    const found = await made("mkfs.ext4", "-q", "-F", ...options, "DISK", "100M")
    assert.deepEqual(found, { name: "ext2/3/4", size: 100n << 20n })
  }
})

/** The fields alone, where mkfs is not installed. */
function superblock(at: number, fields: readonly (readonly [number, Uint8Array])[]): MemoryStore {
  const bytes = new Uint8Array(1 << 20)
  for (const [offset, value] of fields) bytes.set(value, at + offset)
  return new MemoryStore(bytes)
}
const be32 = (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
const u64 = (value: bigint, little: boolean) => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, little)
  return bytes
}

test("XFS and btrfs say how large they are on this device", async () => {
  const xfs = superblock(0, [
    [0, Buffer.from("XFSB")],
    [4, be32(4096)],
    [8, u64(76800n, false)],
  ])
  assert.deepEqual(await filesystemSize(xfs), { name: "XFS", size: 300n << 20n })
  const btrfs = superblock(65536, [
    [0x40, Buffer.from("_BHRfS_M")],
    [0xc9 + 8, u64(109n << 20n, true)],
  ])
  assert.deepEqual(await filesystemSize(btrfs), { name: "btrfs", size: 109n << 20n })
})

test("nothing, a device that is too short, and another format have no size", async () => {
  assert.equal(await filesystemSize(new MemoryStore(new Uint8Array(1 << 20))), null)
  assert.equal(await filesystemSize(new MemoryStore(new Uint8Array(512))), null)
  assert.equal(await filesystemSize(superblock(4086, [[0, Buffer.from("SWAPSPACE2")]])), null)
})
