/** Of repeated measurements: the middle one, and how far they lie apart. */

export interface Summary {
  readonly median: number
  /** (largest - smallest) / median. */
  readonly spread: number
  readonly samples: readonly number[]
}

/** The middle value; of an even number, the mean of the two in the middle. Throws RangeError when there is none. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) throw new RangeError("no samples")
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function summarize(samples: readonly number[]): Summary {
  const middle = median(samples)
  const spread = middle === 0 ? 0 : (Math.max(...samples) - Math.min(...samples)) / middle
  return { median: middle, spread, samples: [...samples] }
}
