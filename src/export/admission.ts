/**
 * Memory held by the requests of one connection: each takes its share of
 * everybody's budget before it begins, and gives it back when its reply has left.
 *
 * Nobody holds memory while waiting for more of it. State by state, what a
 * connection holds, and which connection it waits for:
 *
 *   state of a request    holds                     waits for
 *   unparsed, unserved    nothing of the budget     those being served, or whoever else holds the budget
 *   granted               its cost, once            its client's next bytes, or nothing; given back when others wait
 *   payload being filled  its cost                  its client's bytes only: nothing came before it that is unserved
 *   being served          its cost                  the volume, which knows nothing of this budget
 *   replied               its cost                  its client's reading only
 *
 * So every wait ends at the volume or at a client. A client that does not go on
 * while others wait for memory is cut off (Connection.stuck).
 */
import type { Budget } from "../base/budget.ts"

/** Served at one time. */
const REQUESTS = 128

export class Admission {
  readonly #budget: Budget
  readonly #share: () => number
  readonly #closed: AbortSignal
  readonly #goOn: () => void
  #granted: number | null = null
  #awaited = false
  #bytes = 0
  #requests = 0

  /** `share`: bytes of those that are being served; one alone may have more. `goOn`: called when a wait is over. */
  constructor(budget: Budget, share: () => number, closed: AbortSignal, goOn: () => void) {
    this.#budget = budget
    this.#share = share
    this.#closed = closed
    this.#goOn = goOn
  }

  /** Being served, or with a payload that is being filled. */
  get requests(): number {
    return this.#requests
  }

  /** `admit` waits for others. */
  get awaited(): boolean {
    return this.#awaited
  }

  /** Others wait for memory. */
  get contended(): boolean {
    return this.#budget.contended
  }

  /** Bytes of a grant that no request has taken; `null`: there is none. */
  get granted(): number | null {
    return this.#granted
  }

  /**
   * Whether there is room for a request, this connection's and everybody's: then
   * it is taken, for `enter`. Otherwise things go on by themselves when there is.
   */
  admit(cost: number): boolean {
    if (this.#granted === cost) return true
    this.release()
    if (this.#awaited || this.#requests >= REQUESTS || (this.#bytes > 0 && this.#bytes + cost > this.#share())) {
      return false
    }
    const taken = this.#budget.take(cost, this.#closed)
    if (typeof taken === "boolean") {
      this.#granted = taken ? cost : null
      return taken
    }
    this.#awaited = true
    void taken.then((granted) => {
      this.#awaited = false
      if (!granted) return
      if (this.#closed.aborted) return this.#budget.give(cost)
      this.#granted = cost
      this.#goOn()
    })
    return false
  }

  /** True: there was a grant, which is given back. */
  release(): boolean {
    if (this.#granted === null) return false
    this.#budget.give(this.#granted)
    this.#granted = null
    return true
  }

  /** A request takes what was granted; what it is to `leave` with. */
  enter(): number {
    const cost = this.#granted ?? 0
    this.#granted = null
    this.#requests++
    this.#bytes += cost
    return cost
  }

  /** A payload is complete: its request takes over what it holds. */
  handOver(cost: number): void {
    this.#requests--
    this.#bytes -= cost
    this.#granted = cost
  }

  leave(cost: number): void {
    this.#budget.give(cost)
    this.#bytes -= cost
    this.#requests--
  }
}
