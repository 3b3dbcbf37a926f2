/** What open volumes do, from two looks at their counters. Pure. */
import type { OpenVolume } from "./open-volumes.ts"

export interface Rates {
  readonly name: string
  readonly user: number
  readonly state: string
  /** A second. `null`: there is no earlier look at this tresord. */
  readonly reads: number | null
  readonly writes: number | null
  readonly bytesRead: number | null
  readonly bytesWritten: number | null
  /** Now: requests that wait or are served. */
  readonly pending: number
  /** Since it was opened. */
  readonly errors: number
}

const COUNTED = ["reads", "writes", "bytesRead", "bytesWritten"] as const

/** `seconds`: between the looks. A volume that was opened again meanwhile has no rates: its counters began anew. */
export function ratesOf(before: readonly OpenVolume[], after: readonly OpenVolume[], seconds: number): Rates[] {
  return after.map(({ name, owner, state, volume }) => {
    const old = before.find((each) => each.name === name && each.owner === owner)?.volume ?? null
    const same = volume !== null && old !== null && old.pid === volume.pid && old.since === volume.since
    const rate = (counter: string): number | null => {
      if (!same || volume.counters[counter] === undefined) return null
      return Math.max(0, volume.counters[counter] - (old.counters[counter] ?? 0)) / seconds
    }
    const [reads, writes, bytesRead, bytesWritten] = COUNTED.map(rate) as [
      number | null,
      number | null,
      number | null,
      number | null,
    ]
    const now = volume?.counters ?? {}
    return {
      name,
      user: owner,
      state,
      reads,
      writes,
      bytesRead,
      bytesWritten,
      pending: (now["pending"] ?? 0) + (now["waiting"] ?? 0),
      errors: now["errors"] ?? now["failures"] ?? 0,
    }
  })
}
