/**
 * The one place where text leaves the command line: what others wrote is made
 * visible (visible.ts), colours and line breaks are the terminal's. Written at
 * once: what cannot be written is known before the next step.
 */
import { writeSync } from "node:fs"
import { visibleJson, visibleLine, visibleText } from "../../base/visible.ts"
import { outside, resolve } from "./style.ts"
import { wrapText } from "./wrap.ts"

const BUSY_MS = 5

/** All of it, also to a pipe that another process made non-blocking. Throws what write(2) says. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== "EAGAIN" && code !== "EINTR") throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS)
    }
  }
}

export class Output {
  readonly #fd: 1 | 2
  #lost: NodeJS.ErrnoException | null = null

  constructor(fd: 1 | 2) {
    this.#fd = fd
  }

  get #stream(): NodeJS.WriteStream {
    return this.#fd === 1 ? process.stdout : process.stderr
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true
  }

  /** Of the terminal; Infinity where there is none, or it does not know. */
  get columns(): number {
    return this.isTerminal ? this.#stream.columns || Number.POSITIVE_INFINITY : Number.POSITIVE_INFINITY
  }

  /** On a terminal that wants colours (https://no-color.org). */
  get coloured(): boolean {
    return this.isTerminal && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb"
  }

  /** Why something could not be written. A command goes on to its end; main.ts says it then. */
  get lost(): NodeJS.ErrnoException | null {
    return this.#lost
  }

  /** Text of several lines for people; cells and lines in it have been through visibleLine. */
  text(text: string): void {
    const wrapped = this.columns === Number.POSITIVE_INFINITY ? text : wrapText(text, this.columns)
    this.#write(resolve(wrapped, this.coloured, visibleText))
  }

  /** One line for people, whatever is in it. */
  line(text: string): void {
    this.text(`${outside(text, visibleLine)}\n`)
  }

  /** One value for programs, and a newline. */
  json(value: unknown, indent?: number): void {
    this.#write(`${visibleJson(JSON.stringify(value, null, indent))}\n`)
  }

  /** Text for programs: lines as they are. */
  script(text: string): void {
    this.#write(visibleText(text))
  }

  /** Bytes of our own, such as a key, not text of others; throws when they cannot be written. */
  bytes(bytes: Uint8Array): void {
    if (this.#lost !== null) throw this.#lost
    writeAll(this.#fd, bytes)
  }

  #write(text: string): void {
    if (this.#lost !== null) return
    try {
      writeAll(this.#fd, Buffer.from(text))
    } catch (error) {
      this.#lost = error as NodeJS.ErrnoException
    }
  }
}

export const out = new Output(1)
export const err = new Output(2)
