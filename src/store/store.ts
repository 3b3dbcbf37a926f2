/**
 * The interface to a volume's ciphertext. Offsets and lengths are bytes, safe
 * integers. A promise resolves only when the whole range was moved, and rejects
 * with IoError otherwise. What a store does not own it neither keeps nor wipes.
 */

import { IoError } from "../base/io-error.ts"
import type { Disk } from "./disk.ts"

/** A lease on the store, which may run out: src/lease has one. */
export interface Permit {
  /** `null`: it may be used now. Nothing may be awaited between this and the sending. */
  readonly refusal: IoError | null
  /** Resolves when it is to be asked again; rejects when a request should not wait for that. */
  regained(): Promise<void>
  /** Resolves when it will never be granted again. */
  readonly ended: Promise<void>
}

/** "waiting": requests wait for the server. "failing": they end in EIO until it is back. "ended": no more writes. */
export interface ServerStatus {
  readonly state: "connected" | "waiting" | "failing" | "ended"
  /** Why it is not connected. */
  readonly reason: string | null
}

export interface Store {
  /** As it was named: for messages. */
  readonly path: string
  /** Bytes, as they were when it was opened or last refreshed. */
  readonly size: number
  readonly readOnly: boolean
  /** Whether `discard` gives space back; without it, it does nothing. */
  readonly discards: boolean
  /** A flush failed: nothing is written any more, until it is opened again. Absent: it recovers by itself. */
  readonly failed?: boolean
  /**
   * Bytes; writes that are not multiples of it, or do not begin at one, are not atomic, or refused where they go past
   * the page cache. Absent: 512 or less.
   */
  readonly minimumBlock?: number
  /** For I/O past this interface, through the page cache; `null`: not possible. */
  readonly fd: number | null
  /** The same, with requests under way. Absent or `null`: not possible. */
  readonly disk?: Disk | null
  /** Absent: no server has it. */
  readonly server?: ServerStatus
  /** Descriptors that keep others off for as long as a copy of them is open. Absent: it has none to give. */
  readonly claims?: readonly number[]
  read(offset: number, into: Uint8Array): Promise<void>
  /** `from` must not change until this has resolved. */
  write(offset: number, from: Uint8Array): Promise<void>
  /** Resolves when every write resolved before is on stable storage. */
  flush(): Promise<void>
  discard(offset: number, length: number): Promise<void>
  /** Another process has written to the same storage, and flushed: what is read from now on has it. Absent: so it is. */
  resync?(): Promise<void>
  /** Looks at the backing storage again; the size it now has. */
  refresh(): Promise<number>
  /**
   * Runs `work` under cryptsetup's lock of the header that lies here, shared for reading, exclusive
   * for writing. Throws TresorError LUKS2_LOCKED (exit 5). Stores that cryptsetup cannot open have no lock.
   */
  locked<T>(mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Throws EINVAL for a range that does not lie inside `size`. */
export function checkRange(size: number, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset > size - length
  ) {
    throw new IoError("EINVAL", `range ${offset}+${length} lies outside ${size} bytes`)
  }
}
