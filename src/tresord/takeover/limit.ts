import type { ChildProcess } from "node:child_process"

/** Ends a child that takes longer, unless an answer of it has come by then. */
export class Limit {
  readonly #child: ChildProcess
  #timer: NodeJS.Timeout | undefined
  #passed = false

  constructor(child: ChildProcess) {
    this.#child = child
  }

  set(ms: number): void {
    this.clear()
    // What has come is heard before the next turn of the event loop has ended.
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => {
        this.#passed = true
        this.#child.kill("SIGKILL")
      }, 1)
    }, ms)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }

  /** It has ended the child. */
  get passed(): boolean {
    return this.#passed
  }
}
