/**
 * How many bytes of a device its filesystem takes, by its superblock: ext2/3/4 (Linux, fs/ext4/ext4.h), XFS
 * (fs/xfs/libxfs/xfs_format.h), btrfs (include/uapi/linux/btrfs_tree.h). blkid(8) tells that from util-linux 2.39 on. Pure.
 */
import type { Readable } from "./signatures.ts"

interface Kind {
  readonly name: string
  /** Bytes of the superblock from the device's start, how many, and its magic in them. */
  readonly at: number
  readonly length: number
  readonly magic: { readonly at: number; readonly text: string }
  readonly size: (superblock: DataView) => bigint
}

const EXT4_64BIT = 0x80

const KINDS: readonly Kind[] = [
  {
    name: "ext2/3/4",
    at: 1024,
    length: 1024,
    magic: { at: 0x38, text: "\x53\xef" },
    size: (view) => {
      const wide = (view.getUint32(0x60, true) & EXT4_64BIT) !== 0
      const blocks = BigInt(view.getUint32(4, true)) + (wide ? BigInt(view.getUint32(0x150, true)) << 32n : 0n)
      return blocks * (1024n << BigInt(view.getUint32(0x18, true) % 32))
    },
  },
  {
    name: "XFS",
    at: 0,
    length: 512,
    magic: { at: 0, text: "XFSB" },
    size: (view) => BigInt(view.getUint32(4)) * view.getBigUint64(8),
  },
  {
    name: "btrfs",
    at: 65536,
    length: 4096,
    magic: { at: 0x40, text: "_BHRfS_M" },
    // dev_item.total_bytes: of this device, of which a filesystem may have several.
    size: (view) => view.getBigUint64(0xc9 + 8, true),
  },
]

/** Name and bytes of the filesystem that begins where the device does; `null`: none whose size is known. */
export async function filesystemSize(
  device: Readable,
): Promise<{ readonly name: string; readonly size: bigint } | null> {
  for (const { name, at, length, magic, size } of KINDS) {
    if (device.size < at + length) continue
    const bytes = new Uint8Array(length)
    await device.read(at, bytes)
    const found = Buffer.from(bytes.subarray(magic.at, magic.at + magic.text.length)).toString("latin1")
    if (found === magic.text) return { name, size: size(new DataView(bytes.buffer)) }
  }
  return null
}
