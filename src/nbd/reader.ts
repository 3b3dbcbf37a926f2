/** Exact reads from a socket; the stream is paused in between, so a peer that sends too much waits. */
import type { Socket } from "node:net"

export class ByteReader {
  readonly #socket: Socket
  #wake: (() => void) | null = null
  #over = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on("readable", () => this.#wake?.())
    for (const event of ["end", "close", "error"]) {
      socket.on(event, () => {
        this.#over = true
        this.#wake?.()
      })
    }
  }

  /** `null`: the peer left before `length` bytes had come. One call at a time. */
  async read(length: number): Promise<Buffer | null> {
    if (length === 0) return Buffer.alloc(0)
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null
      if (bytes !== null) return bytes.length === length ? bytes : null
      if (this.#over || this.#socket.destroyed) return null
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = null
    }
  }
}
