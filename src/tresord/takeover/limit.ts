/** Ends a process that takes longer, unless an answer of it has come by then. */
export class Limit {
  readonly #end: () => void
  #timer: NodeJS.Timeout | undefined
  #passed = false

  constructor(end: () => void) {
    this.#end = end
  }

  set(ms: number): void {
    this.clear()
    // What has come is heard before the next turn of the event loop has ended.
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => {
        this.#passed = true
        this.#end()
      }, 1)
    }, ms)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }

  /** It has ended the process. */
  get passed(): boolean {
    return this.#passed
  }
}
