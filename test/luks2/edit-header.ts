/** Rewrites the header of a file as an attacker with the disk would: both copies, checksums that hold. */
import { createHash } from "node:crypto"
import { closeSync, openSync, readSync, writeSync } from "node:fs"

const BINARY = 4096
const CHECKSUM = [448, 512] as const

// biome-ignore lint/suspicious/noExplicitAny: what tests change in it is theirs
export type Json = any

export interface Edit {
  /** Changes the JSON area's object, or returns a text to be put there instead. */
  readonly json?: (metadata: Json) => unknown
  /** Changes the bytes of a copy before its checksum is made. */
  readonly bytes?: (copy: Buffer, which: "primary" | "secondary") => void
  readonly only?: "primary" | "secondary"
}

/** What `file` has at `offset`. */
export function readAt(file: string, offset: number, length: number): Buffer {
  const fd = openSync(file, "r")
  const bytes = Buffer.alloc(length)
  readSync(fd, bytes, 0, length, offset)
  closeSync(fd)
  return bytes
}

export function writeAt(file: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(file, "r+")
  writeSync(fd, bytes, 0, bytes.length, offset)
  closeSync(fd)
}

/** Text of the first copy's JSON area. */
export function jsonOf(file: string): string {
  const size = Number(readAt(file, 8, 8).readBigUInt64BE())
  const area = readAt(file, BINARY, size - BINARY)
  return area.toString("utf8", 0, area.indexOf(0))
}

export function editHeader(file: string, edit: Edit): void {
  const size = Number(readAt(file, 8, 8).readBigUInt64BE())
  for (const which of ["primary", "secondary"] as const) {
    if (edit.only !== undefined && edit.only !== which) continue
    const at = which === "primary" ? 0 : size
    const copy = readAt(file, at, size)
    const area = copy.subarray(BINARY)
    if (edit.json !== undefined) {
      const metadata = JSON.parse(area.toString("utf8", 0, area.indexOf(0)))
      const answer = edit.json(metadata)
      const text = typeof answer === "string" ? answer : JSON.stringify(metadata)
      area.fill(0)
      area.write(text)
    }
    edit.bytes?.(copy, which)
    copy.fill(0, ...CHECKSUM)
    copy.set(createHash("sha256").update(copy).digest(), CHECKSUM[0])
    writeAt(file, at, copy)
  }
}
