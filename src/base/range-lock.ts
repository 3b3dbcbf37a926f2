/** Exclusive locks on byte ranges, granted in the order asked for. */

interface Held {
  readonly start: number
  readonly end: number
  readonly released: Promise<void>
}

export class RangeLock {
  readonly #held = new Set<Held>()

  /** Whether somebody holds a byte of [start, end). */
  overlaps(start: number, end: number): boolean {
    for (const held of this.#held) if (held.start < end && start < held.end) return true
    return false
  }

  /** Runs `body` while nobody else holds a byte of [start, end). */
  async with<T>(start: number, end: number, body: () => Promise<T>): Promise<T> {
    const before: Promise<void>[] = []
    for (const held of this.#held) if (held.start < end && start < held.end) before.push(held.released)
    let release = () => {}
    const mine: Held = { start, end, released: new Promise((resolve) => (release = resolve)) }
    this.#held.add(mine)
    try {
      if (before.length > 0) await Promise.all(before)
      return await body()
    } finally {
      this.#held.delete(mine)
      release()
    }
  }
}
