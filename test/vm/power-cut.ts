/**
 * A disk whose power was cut, from the log of its writes (QEMU's blklogwrites, the format of Linux's dm-log-writes): what
 * was written after the last flush is lost, as a drive may lose what only its cache held.
 */
import { closeSync, copyFileSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs"

const MAGIC = 0x6a736677736872n
const FLUSH = 1n
const DISCARD = 4n
const ENTRY = 32

interface Write {
  /** Bytes of the disk. */
  readonly to: number
  readonly length: number
  /** Bytes of the log; `null`: a discard. */
  readonly from: number | null
}

/** Numbers of a replay, for a test to see that it had something to lose. */
export interface Replayed {
  readonly kept: number
  readonly lost: number
  readonly flushes: number
}

export interface Cut {
  /** What the disk was before the log; default: blank. */
  readonly before?: string
  /** So many writes, flushes and discards of the log had come; default: all. */
  readonly entries?: number
  /** Whether the n-th of the writes after the last flush came to the disk all the same; default: none did. */
  readonly survives?: (n: number) => boolean
}

/** How many writes, flushes and discards a log has. */
export function entriesOf(path: string): number {
  const log = openSync(path, "r")
  try {
    return Number(superblock(log, path).readBigUInt64LE(16))
  } finally {
    closeSync(log)
  }
}

function superblock(log: number, path: string): Buffer {
  const found = at(log, 0, 32)
  if (found.readBigUInt64LE(0) !== MAGIC) throw new Error(`${path} is no log of writes`)
  return found
}

/** Writes `image` anew, of `bytes`, with what the log at `path` made durable. */
export function replayDurable(path: string, image: string, bytes: number, cut: Cut = {}): Replayed {
  if (cut.before === undefined) writeFileSync(image, "")
  else copyFileSync(cut.before, image)
  truncateSync(image, bytes)
  const log = openSync(path, "r")
  const disk = openSync(image, "r+")
  try {
    const head = superblock(log, path)
    const entries = Math.min(Number(head.readBigUInt64LE(16)), cut.entries ?? Number.POSITIVE_INFINITY)
    const sector = head.readUInt32LE(24)
    let position = sector
    let flushes = 0
    const waiting: Write[] = []
    let kept = 0
    const land = (write: Write) => {
      const data = write.from === null ? Buffer.alloc(write.length) : at(log, write.from, write.length)
      writeSync(disk, data, 0, write.length, write.to)
    }
    for (let index = 0; index < entries; index++) {
      const entry = at(log, position, ENTRY)
      const to = Number(entry.readBigUInt64LE(0)) * sector
      const length = Number(entry.readBigUInt64LE(8)) * sector
      const flags = entry.readBigUInt64LE(16)
      position += sector
      const discards = (flags & DISCARD) !== 0n
      if ((flags & FLUSH) !== 0n) {
        flushes++
        waiting.forEach(land)
        kept += waiting.length
        waiting.length = 0
      }
      if (length > 0) waiting.push({ to, length, from: discards ? null : position })
      if (!discards) position += length
    }
    const survivors = waiting.filter((_, n) => cut.survives?.(n) === true)
    survivors.forEach(land)
    return { kept, lost: waiting.length - survivors.length, flushes }
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
