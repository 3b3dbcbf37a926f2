/**
 * Recognises formats other than LUKS2 on a device or file, by the magic
 * numbers that other programs look for; some lie at its end. Used where
 * blkid(8) is not there (store/blkid.ts), and for what blkid does not know.
 * Pure.
 */
import type { Store } from "./store.ts"

/** A device whose signatures are looked for. */
export type Readable = Pick<Store, "size" | "read">

interface Signature {
  readonly name: string
  readonly magic: Uint8Array
  /** Where it may lie on a device of `size` bytes; offsets outside are left out. */
  readonly at: (size: number) => readonly number[]
  /** libblkid looks for it too, and more carefully. */
  readonly blkid: boolean
}

const text = (name: string, offset: number, magic: string): Signature => atEnd(name, () => [offset], magic)

function atEnd(name: string, at: Signature["at"], magic: string): Signature {
  return { name, magic: Buffer.from(magic, "latin1"), at, blkid: true }
}

const KIB = 1024
const down = (value: number, unit: number): number => Math.floor(value / unit) * unit
const RAID = "\xfc\x4e\x2b\xa9"

/** The four labels of 256 KiB, two at each end; each holds 128 uberblocks after its first 128 KiB. */
function uberblocks(size: number): number[] {
  const label = 256 * KIB
  const labels = [0, label, down(size, label) - 2 * label, down(size, label) - label]
  return labels.flatMap((start) => Array.from({ length: 128 }, (_, index) => start + 128 * KIB + index * KIB))
}

const LUKS: readonly Signature[] = [
  text("LUKS", 0, "LUKS\xba\xbe"),
  atEnd(
    "LUKS2 (second header)",
    () => [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((kib) => kib * KIB),
    "SKUL\xba\xbe",
  ),
]

const OTHERS: readonly Signature[] = [
  text("ext2/3/4", 0x438, "\x53\xef"),
  text("XFS", 0, "XFSB"),
  text("btrfs", 0x10040, "_BHRfS_M"),
  text("swap", 4086, "SWAPSPACE2"),
  atEnd("LVM", () => [0, 512, 1024, 1536], "LABELONE"),
  atEnd("a GPT partition table", (size) => [512, 4096, size - 512, size - 4096], "EFI PART"),
  text("NTFS", 3, "NTFS    "),
  text("exFAT", 3, "EXFAT   "),
  text("BitLocker", 3, "-FVE-FS-"),
  text("FAT", 82, "FAT32   "),
  text("FAT", 54, "FAT16   "),
  text("FAT", 54, "FAT12   "),
  // Metadata 1.1 and 1.2 at the beginning; 1.0 and 0.90 at the end (md(4)).
  atEnd("Linux RAID", (size) => [0, 4096, down(size - 8 * KIB, 4 * KIB), down(size, 64 * KIB) - 64 * KIB], RAID),
  atEnd("Intel RAID", (size) => [size - 1024, size - 8192], "Intel Raid ISM Cfg Sig. "),
  atEnd("DDF RAID", (size) => [size - 512, size - 512 - 257 * 512], "\xde\x11\xde\x11"),
  // Versions 8.4 and 9, in the last 4 KiB.
  atEnd("DRBD", (size) => [down(size, 4 * KIB) - 4 * KIB + 60], "\x83\x74\x02\x6b"),
  atEnd("DRBD", (size) => [down(size, 4 * KIB) - 4 * KIB + 60], "\x83\x74\x02\x6c"),
  atEnd("DRBD", (size) => [down(size, 4 * KIB) - 4 * KIB + 60], "\x83\x74\x02\x6d"),
  atEnd("ZFS", uberblocks, "\x0c\xb1\xba\0\0\0\0\0"),
  text("F2FS", 0x400, "\x10\x20\xf5\xf2"),
  text("bcache", 4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
  text("ISO 9660", 0x8001, "CD001"),
  text("squashfs", 0, "hsqs"),
  { ...text("a qcow2 image", 0, "QFI\xfb"), blkid: false },
  { ...text("a VMDK image", 0, "KDMV"), blkid: false },
  { ...text("a VHDX image", 0, "vhdxfile"), blkid: false },
  // Last: a boot sector's mark is also in FAT and NTFS.
  text("a partition table", 510, "\x55\xaa"),
]

const UNKNOWN_TO_BLKID = OTHERS.filter(({ blkid }) => !blkid)
/**
 * Four matching bytes or more are not a coincidence. blkid passes over what is incomplete (a
 * GPT's copy without its protective MBR) and may still be somebody's last hope.
 */
const LEFTOVERS = OTHERS.filter(({ magic }) => magic.length >= 4)

/** Read in whole pieces, so that the many places of ZFS are few reads. */
const PIECE = 64 * KIB

async function search(device: Readable, signatures: readonly Signature[]): Promise<string | null> {
  const { size } = device
  const pieces = new Map<number, Uint8Array>()
  const bytesAt = async (offset: number, length: number): Promise<Uint8Array> => {
    const start = down(offset, PIECE)
    // A magic number may lie across two pieces.
    const end = Math.min(size, start + PIECE + 4 * KIB)
    let piece = pieces.get(start)
    if (piece === undefined) {
      piece = new Uint8Array(end - start)
      await device.read(start, piece)
      pieces.set(start, piece)
    }
    return piece.subarray(offset - start, offset - start + length)
  }
  for (const { name, magic, at } of signatures) {
    for (const offset of at(size)) {
      if (offset < 0 || offset + magic.length > size) continue
      const found = await bytesAt(offset, magic.length)
      if (magic.every((byte, index) => found[index] === byte)) return name
    }
  }
  return null
}

/** What is kept there, by name; `null`: nothing that is known. `luks`: LUKS counts too. */
export function findSignature(device: Readable, { luks }: { readonly luks: boolean }): Promise<string | null> {
  return search(device, luks ? [...LUKS, ...OTHERS] : OTHERS)
}

/**
 * The same where blkid has found nothing: what it does not look for. With
 * `luks` a new volume is to be made, and remains of others count as well.
 */
export function findUnknownToBlkid(device: Readable, { luks }: { readonly luks: boolean }): Promise<string | null> {
  return search(device, luks ? LEFTOVERS : UNKNOWN_TO_BLKID)
}
