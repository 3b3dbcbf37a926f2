/**
 * One range of a volume that is to be quiet for a while: requests on it wait, all others go on. Reads are counted here;
 * what changes sectors holds locks of its own. Pure.
 */

interface Quiet {
  readonly start: number
  readonly end: number
  readonly over: Promise<void>
}

/** Reads that were begun between two ranges. */
class Reading {
  count = 0
  readonly ended = new Set<() => void>()
}

export class QuietRange {
  #quiet: Quiet | null = null
  #now = new Reading()
  /** Of before, with reads under way. */
  readonly #before = new Set<Reading>()

  /** Whether a request on [start, end) has to wait. */
  covers(start: number, end: number): boolean {
    const quiet = this.#quiet
    return quiet !== null && start < quiet.end && quiet.start < end
  }

  /** Resolves when no request on [start, end) has to wait. */
  async passed(start: number, end: number): Promise<void> {
    while (this.covers(start, end)) await this.#quiet!.over
  }

  /** A read that is not covered is under way until the returned function is called. */
  read(): () => void {
    const reading = this.#now
    reading.count++
    return () => {
      if (--reading.count > 0 || reading === this.#now) return
      this.#before.delete(reading)
      for (const tell of reading.ended) tell()
    }
  }

  /** From now on; `ready` resolves when every read that was under way has ended. Throws RangeError while there is one. */
  set(start: number, end: number): { readonly ready: Promise<void>; readonly release: () => void } {
    if (this.#quiet !== null) throw new RangeError("one quiet range at a time")
    let over!: () => void
    this.#quiet = { start, end, over: new Promise((resolve) => (over = resolve)) }
    if (this.#now.count > 0) this.#before.add(this.#now)
    this.#now = new Reading()
    const ended = [...this.#before].map(({ ended }) => new Promise<void>((resolve) => ended.add(resolve)))
    return {
      ready: Promise.all(ended).then(() => {}),
      release: () => {
        this.#quiet = null
        over()
      },
    }
  }
}
