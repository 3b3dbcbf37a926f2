/**
 * Decides how long to poll for a client's next request before sleeping. To be
 * woken costs both sides more than a short wait, but most waits are long: so, as
 * KVM does before it halts a CPU, only a client that lately asked again within
 * LONGEST is waited for, and twice as long each time until that is met. Pure;
 * times are in microseconds.
 */

const SHORTEST = 10
/** More than two wake-ups cost: who takes longer gains nothing. */
export const LONGEST = 50

export class BusyWait {
  #window = 0
  #since = 0

  /** 0: sleep at once. */
  get window(): number {
    return this.#window
  }

  /** Nothing is left to do. */
  begin(now: number): void {
    this.#since = now
  }

  /** Input came while asleep. */
  end(now: number): void {
    if (now - this.#since < LONGEST) this.#window = Math.min(LONGEST, Math.max(SHORTEST, 2 * this.#window))
    else this.#window = this.#window > SHORTEST ? this.#window >> 1 : 0
  }
}
