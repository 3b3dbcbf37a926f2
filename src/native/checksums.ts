/** SHA-256 of blocks; addon/io/checksums.c. */
import { addon } from "./addon.ts"

interface ChecksumFunctions {
  checksums(bytes: Uint8Array, block: number): Promise<Uint8Array>
}

const { checksums } = addon as unknown as ChecksumFunctions

export {
  /** 32 bytes for each block of `block` bytes, the last of which may be shorter. The bytes must not change meanwhile. */
  checksums,
}
