/**
 * Memory shared by many, handed out in the order asked for. Whoever holds some
 * asks for no more before giving it back, so nobody waits forever.
 */

interface Waiter {
  readonly bytes: number
  readonly since: number
  readonly grant: () => void
}

export interface Pressure {
  /** Called when somebody begins to wait: what is held for later is to be given back. */
  readonly spare: () => void
  /** Called again and again while somebody has waited longer than `patienceMs`. */
  readonly relieve: () => void
  readonly patienceMs: number
}

export class Budget {
  readonly #pressure: Pressure | null
  readonly #waiting = new Set<Waiter>()
  #free: number
  #timer: NodeJS.Timeout | null = null

  constructor(bytes: number, pressure: Pressure | null = null) {
    this.#free = bytes
    this.#pressure = pressure
  }

  /** Bytes nobody holds. */
  get free(): number {
    return this.#free
  }

  /** Somebody waits. */
  get contended(): boolean {
    return this.#waiting.size > 0
  }

  /** Takes what can be had at once, ahead of nobody. */
  tryTake(bytes: number): boolean {
    if (this.#waiting.size > 0 || bytes > this.#free) return false
    this.#free -= bytes
    return true
  }

  /** False when `signal` was aborted first: then nothing is held. `bytes` must not exceed the whole. */
  take(bytes: number, signal?: AbortSignal): Promise<boolean> | boolean {
    if (signal?.aborted === true) return false
    if (this.tryTake(bytes)) return true
    return new Promise((resolve) => {
      const abort = () => {
        this.#waiting.delete(waiter)
        resolve(false)
        // It may have been the first in the queue, waiting for more than was free.
        this.#serve()
      }
      const waiter: Waiter = {
        bytes,
        since: performance.now(),
        grant: () => {
          signal?.removeEventListener("abort", abort)
          resolve(true)
        },
      }
      this.#waiting.add(waiter)
      signal?.addEventListener("abort", abort, { once: true })
      if (this.#pressure !== null) {
        this.#timer ??= setInterval(() => this.#press(), this.#pressure.patienceMs / 2).unref()
        queueMicrotask(this.#pressure.spare)
      }
    })
  }

  give(bytes: number): void {
    this.#free += bytes
    this.#serve()
  }

  #serve(): void {
    for (const waiter of this.#waiting) {
      if (waiter.bytes > this.#free) return
      this.#waiting.delete(waiter)
      this.#free -= waiter.bytes
      waiter.grant()
    }
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #press(): void {
    const [first] = this.#waiting
    const { patienceMs, relieve } = this.#pressure!
    if (first !== undefined && performance.now() - first.since >= patienceMs) relieve()
  }
}
