/**
 * What a device or file already holds, by the magic numbers at its start, so
 * that `create` does not overwrite it unasked. Pure; offsets in bytes.
 */

export interface Signature {
  readonly name: string
  readonly offset: number
  readonly magic: Uint8Array
}

const text = (name: string, offset: number, magic: string): Signature => ({
  name,
  offset,
  magic: Buffer.from(magic, "latin1"),
})

const SIGNATURES: readonly Signature[] = [
  text("LUKS", 0, "LUKS\xba\xbe"),
  text("LUKS2 (second header)", 0x4000, "SKUL\xba\xbe"),
  text("ext2/3/4", 0x438, "\x53\xef"),
  text("XFS", 0, "XFSB"),
  text("btrfs", 0x10040, "_BHRfS_M"),
  text("swap", 4086, "SWAPSPACE2"),
  text("LVM", 512, "LABELONE"),
  text("a GPT partition table", 512, "EFI PART"),
  text("NTFS", 3, "NTFS    "),
  text("exFAT", 3, "EXFAT   "),
  text("BitLocker", 3, "-FVE-FS-"),
  text("FAT", 82, "FAT32   "),
  text("FAT", 54, "FAT16   "),
  text("FAT", 54, "FAT12   "),
  text("Linux RAID", 4096, "\xfc\x4e\x2b\xa9"),
  text("Linux RAID", 0, "\xfc\x4e\x2b\xa9"),
  text("F2FS", 0x400, "\x10\x20\xf5\xf2"),
  text("bcache", 4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
  text("ISO 9660", 0x8001, "CD001"),
  text("squashfs", 0, "hsqs"),
  text("a qcow2 image", 0, "QFI\xfb"),
  // Last: a boot sector's mark is also in FAT and NTFS.
  text("a partition table", 510, "\x55\xaa"),
]

/** Bytes from the start that decide. */
export const PROBE_SIZE = 0x10040 + 8

export function findSignature(start: Uint8Array): string | null {
  const matches = ({ offset, magic }: Signature) => magic.every((byte, i) => start[offset + i] === byte)
  return SIGNATURES.find(matches)?.name ?? null
}
