/**
 * A disk whose power was cut, from the log of its writes (QEMU's blklogwrites, the format of Linux's dm-log-writes): what
 * was written after the last flush is lost, as a drive may lose what only its cache held.
 */
import { closeSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs"

const MAGIC = 0x6a736677736872n
const FLUSH = 1n
const DISCARD = 4n
const ENTRY = 32

/** Numbers of a replay, for a test to see that it had something to lose. */
export interface Replayed {
  readonly kept: number
  readonly lost: number
  readonly flushes: number
}

/** Writes `image` anew, of `bytes`, with what the log at `path` made durable. The disk was blank before. */
export function replayDurable(path: string, image: string, bytes: number): Replayed {
  writeFileSync(image, "")
  truncateSync(image, bytes)
  const log = openSync(path, "r")
  const disk = openSync(image, "r+")
  try {
    const super_ = at(log, 0, 32)
    if (super_.readBigUInt64LE(0) !== MAGIC) throw new Error(`${path} is no log of writes`)
    const entries = Number(super_.readBigUInt64LE(16))
    const sector = super_.readUInt32LE(24)
    let position = sector
    let flushes = 0
    const waiting: { readonly to: number; readonly length: number; readonly from: number | null }[] = []
    let kept = 0
    for (let index = 0; index < entries; index++) {
      const entry = at(log, position, ENTRY)
      const to = Number(entry.readBigUInt64LE(0)) * sector
      const length = Number(entry.readBigUInt64LE(8)) * sector
      const flags = entry.readBigUInt64LE(16)
      position += sector
      const discards = (flags & DISCARD) !== 0n
      if ((flags & FLUSH) !== 0n) {
        flushes++
        for (const write of waiting) {
          const data = write.from === null ? Buffer.alloc(write.length) : at(log, write.from, write.length)
          writeSync(disk, data, 0, write.length, write.to)
        }
        kept += waiting.length
        waiting.length = 0
      }
      if (length > 0) waiting.push({ to, length, from: discards ? null : position })
      if (!discards) position += length
    }
    return { kept, lost: waiting.length, flushes }
  } finally {
    closeSync(log)
    closeSync(disk)
  }
}

function at(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (readSync(file, bytes, 0, length, position) !== length) throw new Error(`the log ends within an entry`)
  return bytes
}
