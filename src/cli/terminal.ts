/** The controlling terminal: for what must not go into a pipe or a file, and the silence between prompts. */
import { closeSync, openSync } from "node:fs"
import { isatty } from "node:tty"
import { writeAll } from "./output/output.ts"

let restore: (() => void) | null = null

/** Echo is off since a prompt, and `restore` turns it on. */
export function echoIsOff(how: () => void): void {
  restore = how
}

/** Echo is on again, before something is shown while it is typed and when the command is over. */
export function endSilence(): void {
  restore?.()
  restore = null
}

/** Bytes to a terminal. */
export class Terminal implements Disposable {
  readonly #fd: number
  readonly #own: boolean

  private constructor(fd: number, own: boolean) {
    this.#fd = fd
    this.#own = own
  }

  /** null: no terminal that a person could read. */
  static open(): Terminal | null {
    try {
      return new Terminal(openSync("/dev/tty", "w"), true)
    } catch {
      // No controlling terminal; standard output or error may still be one.
      const fd = [1, 2].find((each) => isatty(each))
      return fd === undefined ? null : new Terminal(fd, false)
    }
  }

  /** All of it, or an error. */
  write(bytes: Uint8Array | string): void {
    writeAll(this.#fd, typeof bytes === "string" ? Buffer.from(bytes) : bytes)
  }

  [Symbol.dispose](): void {
    if (this.#own) closeSync(this.#fd)
  }
}
