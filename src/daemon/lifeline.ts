/**
 * The starter's end of descriptor 3: it hears whether we came up, and says
 * whether we are to stay when it goes. Until then its end is ours.
 */
import { writeSync } from "node:fs"
import { Socket } from "node:net"
import { Exit, TresorError } from "../errors.ts"

const FD = 3

export class Lifeline {
  readonly #socket: Socket

  /** `orphaned` is called when the starter ends without having said "stay". */
  constructor(orphaned: () => void) {
    this.#socket = new Socket({ fd: FD, readable: true, writable: true })
    let said = ""
    this.#socket.setEncoding("utf8")
    this.#socket.on("data", (text: string) => {
      said += text
      if (said.length > 16) this.#socket.destroy()
    })
    this.#socket.on("error", () => this.#socket.destroy())
    this.#socket.once("close", () => {
      if (said !== "stay\n") orphaned()
    })
    this.#socket.unref()
  }

  ready(): void {
    this.#socket.write('{"ok":true}\n')
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
