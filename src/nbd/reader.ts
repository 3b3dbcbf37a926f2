/** Exact reads from a socket; the stream is paused in between, so a peer that sends too much waits. */
import type { Socket } from "node:net"

const NOTHING = Buffer.alloc(0)

export class ByteReader {
  readonly #socket: Socket
  #chunk: Buffer = NOTHING
  #at = 0
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

  /** Bytes that came, at most `length` of them; `null`: none are there yet. */
  #available(length: number): Buffer | null {
    if (this.#at === this.#chunk.length) {
      const next = this.#socket.read() as Buffer | null
      if (next === null) return null
      this.#chunk = next
      this.#at = 0
    }
    const start = this.#at
    this.#at = Math.min(this.#chunk.length, start + length)
    return this.#chunk.subarray(start, this.#at)
  }

  /** False: the peer left. */
  async #more(): Promise<boolean> {
    if (this.#over || this.#socket.destroyed) return false
    await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#wake = null
    return true
  }

  /** False: the peer left before `into` was full. One call at a time. */
  async fill(into: Uint8Array): Promise<boolean> {
    for (let done = 0; done < into.length; ) {
      const bytes = this.#available(into.length - done)
      if (bytes !== null) {
        into.set(bytes, done)
        done += bytes.length
      } else if (!(await this.#more())) {
        return false
      }
    }
    return true
  }

  /** Resolves when there is something to read; false: the peer left. One call at a time. */
  async ready(): Promise<boolean> {
    for (;;) {
      if (this.#at < this.#chunk.length || this.#socket.readableLength > 0) return true
      if (!(await this.#more())) return false
    }
  }

  /** `null`: the peer left before `length` bytes had come. One call at a time. */
  async read(length: number): Promise<Buffer | null> {
    if (length === 0) return NOTHING
    if (this.#chunk.length - this.#at >= length) return this.#available(length)
    const bytes = Buffer.allocUnsafeSlow(length)
    return (await this.fill(bytes)) ? bytes : null
  }
}
