/** File operations that Node does not offer; addon/io/file.c. */
import { addon } from "./addon.ts"

interface FileFunctions {
  punchHole(fd: number, offset: number, length: number): Promise<void>
  writeInside(fd: number, bytes: Uint8Array, offset: number): Promise<void>
  claimByte(fd: number, at: number): void
  byteClaimed(fd: number, at: number): boolean
  hasWriter(fd: number): boolean | null
}

const { punchHole, writeInside, claimByte, byteClaimed, hasWriter } = addon as unknown as FileFunctions

export {
  /** Whether another open file has a lock on a byte. */
  byteClaimed,
  /** A shared lock on one byte of an open file (F_OFD_SETLK), until it is closed. */
  claimByte,
  /** Whether anybody has the file open for writing; `null`: unknown. The descriptor is open for reading. */
  hasWriter,
  /** fallocate(2) with FALLOC_FL_PUNCH_HOLE. Rejects with errno's name as `code`, like `writeInside`. */
  punchHole,
  /** All of the bytes, or EIO when a regular file ends before their end. They must not change meanwhile. */
  writeInside,
}
