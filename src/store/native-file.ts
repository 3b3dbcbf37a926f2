/** What a file needs from the operating system and Node does not offer; addon/sectors.c. */
import { addon } from "../enclave/native.ts"

interface FileFunctions {
  punchHole(fd: number, offset: number, length: number): void
  alignedBuffer(length: number): ArrayBuffer
}

const { punchHole, alignedBuffer } = addon as unknown as FileFunctions

export {
  /** Zeroed, page-aligned and a multiple of 4096 bytes: fit for O_DIRECT. */
  alignedBuffer,
  /** fallocate(2) with FALLOC_FL_PUNCH_HOLE, on this thread. Throws with errno's name as `code`. */
  punchHole,
}
