/**
 * The starter's end of descriptor 3: it gives us our options, hears whether we
 * came up, and says whether we are to stay when it goes. Until then its end is ours.
 */
import { writeSync } from "node:fs"
import { Socket } from "node:net"
import { Exit, TresorError } from "../base/errors.ts"
import { parseJson } from "../base/json.ts"

const FD = 3

/** Characters: a few paths of 4096 bytes, escaped. */
const LONGEST = 256 << 10

export class Lifeline {
  readonly #socket: Socket
  #said = ""
  #listener = () => {}

  constructor() {
    this.#socket = new Socket({ fd: FD, readable: true, writable: true })
    this.#socket.setEncoding("utf8")
    this.#socket.on("data", (text: string) => {
      this.#said += text
      if (this.#said.length > LONGEST) this.#socket.destroy()
      this.#listener()
    })
    this.#socket.on("error", () => this.#socket.destroy())
    this.#socket.once("close", () => this.#listener())
  }

  /** Our options, not checked; `null` when the starter goes without having any for us. Keeps the event loop alive. */
  async options(): Promise<unknown> {
    const line = await this.#firstLine()
    this.#socket.unref()
    return line === null ? null : parseJson(line)
  }

  /** `orphaned` is called when the starter ends, or has ended, without having said "stay". */
  ready(orphaned: () => void): void {
    this.#socket.write('{"ok":true}\n')
    this.#listen(() => {
      if (this.#socket.destroyed && this.#said !== "stay\n") orphaned()
    })
  }

  #firstLine(): Promise<string | null> {
    return new Promise((resolve) => {
      this.#listen(() => {
        const end = this.#said.indexOf("\n")
        if (end >= 0) {
          resolve(this.#said.slice(0, end))
          this.#said = this.#said.slice(end + 1)
          this.#listener = () => {}
        } else if (this.#socket.destroyed) resolve(null)
      })
    })
  }

  #listen(listener: () => void): void {
    this.#listener = listener
    listener()
  }
}

/** For a start that failed: synchronous, the process ends after it. */
export function reportFailure(error: unknown): void {
  const { code, exitCode, message } =
    error instanceof TresorError
      ? error
      : {
          code: "DAEMON_START",
          exitCode: Exit.wrongDevice,
          message: `Cannot start tresord: ${error instanceof Error ? error.message : String(error)}`,
        }
  try {
    writeSync(FD, `${JSON.stringify({ ok: false, code, exitCode, message })}\n`)
  } catch {
    // The starter has gone already; the log says it too.
  }
}
