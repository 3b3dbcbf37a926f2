/** How fast a reencryption goes beside the requests of users: it yields to them, and keeps to a limit. Pure. */

/**
 * After a zone during which users had requests, so many times as long as the zone took: they have the disk for themselves
 * for five sixths of the time.
 */
const YIELD = 5
/** What a user waits for at most, however slow the disk is: after that the pass goes on. */
const YIELD_MS = 5000

export interface PaceOptions {
  /** Bytes in a second; 0: no limit. */
  readonly throttle: number
  /** Requests of users, ever. */
  readonly requests: () => number
  /** Milliseconds. */
  readonly now: () => number
  readonly wait: (ms: number) => Promise<void>
}

/** Called before each zone with the position; resolves when it may begin. */
export function paceOf({ throttle, requests, now, wait }: PaceOptions): (position: number) => Promise<void> {
  let first: { readonly position: number; readonly at: number } | null = null
  let last: { readonly requests: number; readonly at: number } | null = null
  return async (position) => {
    const at = now()
    first ??= { position, at }
    const due = throttle === 0 ? 0 : ((position - first.position) / throttle) * 1000 - (at - first.at)
    const used = last !== null && requests() !== last.requests
    const yields = used ? Math.min((at - last!.at) * YIELD, YIELD_MS) : 0
    const ms = Math.max(due, yields)
    if (ms > 0) await wait(ms)
    last = { requests: requests(), at: now() }
  }
}
