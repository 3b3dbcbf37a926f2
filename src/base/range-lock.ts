/** Exclusive locks on byte ranges, granted in the order asked for. */

interface Held {
  readonly start: number
  readonly end: number
  /** Called when it is released. */
  readonly waiting: (() => void)[]
}

export class RangeLock {
  readonly #held = new Set<Held>()

  /** Whether somebody holds a byte of [start, end). */
  overlaps(start: number, end: number): boolean {
    for (const held of this.#held) if (held.start < end && start < held.end) return true
    return false
  }

  #add(start: number, end: number): Held {
    const held: Held = { start, end, waiting: [] }
    this.#held.add(held)
    return held
  }

  #release(held: Held): void {
    this.#held.delete(held)
    for (const wake of held.waiting) wake()
  }

  /** Holds a range that nobody holds a byte of, until the returned function is called. */
  hold(start: number, end: number): () => void {
    const held = this.#add(start, end)
    return () => this.#release(held)
  }

  /** Runs `body` while nobody else holds a byte of [start, end). */
  async with<T>(start: number, end: number, body: () => Promise<T>): Promise<T> {
    const before: Promise<void>[] = []
    for (const held of this.#held) {
      if (held.start < end && start < held.end) before.push(new Promise((resolve) => held.waiting.push(resolve)))
    }
    const mine = this.#add(start, end)
    try {
      if (before.length > 0) await Promise.all(before)
      return await body()
    } finally {
      this.#release(mine)
    }
  }
}
