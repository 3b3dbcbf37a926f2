/** A range of a volume made quiet for a while: no request is under way on it, and those that come wait. */

import type { RangeLock } from "../base/range-lock.ts"
import type { NativeDisk } from "../native/disk.ts"
import type { QuietRange } from "./quiet-range.ts"

/** Between looks whether threads have left the range. */
const POLL_MS = 1

export interface Quiesced {
  /** Resolves when nothing is under way in the range. */
  readonly ready: Promise<void>
  /** Ends it: what waited goes on. */
  readonly release: () => void
}

/**
 * [start, end) in bytes, one at a time. Reads of the event loop are waited for by `quiet`, its writes by `locks`; what
 * threads of `native` have under way is polled for. `null`: there are none.
 */
export function quiesce(
  quiet: QuietRange,
  locks: RangeLock,
  native: NativeDisk | null,
  start: number,
  end: number,
): Quiesced {
  const reads = quiet.set(start, end)
  let free!: () => void
  const freed = new Promise<void>((resolve) => (free = resolve))
  const written = new Promise<void>((resolve) => {
    void locks.with(start, end, () => {
      resolve()
      return freed
    })
  })
  let released = false
  const threads = async () => {
    const after = () => new Promise((resolve) => setTimeout(resolve, POLL_MS))
    if (native === null) return
    while (!released && !native.quiet(start, end)) await after()
    while (!released && !native.quietReached()) await after()
  }
  return {
    ready: Promise.all([reads.ready, written]).then(threads),
    release: () => {
      released = true
      reads.release()
      free()
      native?.quietOver()
    },
  }
}
