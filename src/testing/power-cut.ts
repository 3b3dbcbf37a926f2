/** Power failures: when, and which unsynced blocks the disk keeps. */
import fc from "fast-check"
import type { CrashingStore } from "./crashing-store.ts"

export interface PowerCut {
  /** Of writes and flushes, the number of the one that fails. */
  readonly step: number
  readonly seed: number
  /** Share of the unsynced blocks that are kept. */
  readonly keeps: number
}

/** Pseudo-random numbers below a limit, the same for the same seed. */
export function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

/** One to three, one after the other, each among `steps`. */
export const powerCuts = (steps: number): fc.Arbitrary<PowerCut[]> =>
  fc.array(fc.record({ step: fc.nat(steps - 1), seed: fc.nat(), keeps: fc.constantFrom(0, 0.1, 0.5, 0.9, 1) }), {
    minLength: 1,
    maxLength: 3,
  })

/** What the disk holds once power is back. */
export function afterCut(store: CrashingStore, { seed, keeps }: Pick<PowerCut, "seed" | "keeps">): CrashingStore {
  const next = numbers(seed)
  return store.afterCrash(() => next(1000) < keeps * 1000)
}
