/**
 * A socket's bytes for a generator, which yields a buffer and goes on when it is
 * full. Long buffers are received into directly, short ones by way of one that
 * takes many at a time. Nothing is held back: a peer that sends unasked is the
 * generator's to refuse.
 */
import type { OnReadOpts } from "node:net"

const STAGING_BYTES = 64 << 10

/** What is left of a buffer is received directly when copying would cost more than another read. */
const DIRECT_BYTES = 16 << 10

export class Receiver {
  readonly #conversation: Generator<Uint8Array, never, void>
  readonly #failed: (error: unknown) => void
  readonly #staging = Buffer.alloc(STAGING_BYTES)
  #into: Uint8Array = this.#staging.subarray(0, 0)
  #filled = 0
  #direct = false
  /** The conversation is over: what still comes is dropped. */
  #over = false

  /** `failed` is called when the conversation throws; then nothing more is to come. */
  constructor(conversation: Generator<Uint8Array, never, void>, failed: (error: unknown) => void) {
    this.#conversation = conversation
    this.#failed = failed
    this.#advance()
  }

  /** For the socket's constructor. */
  readonly onread: OnReadOpts = {
    // A function: Node asks after each read where the next one goes.
    buffer: (() => this.#room()) as never,
    callback: (count) => {
      try {
        this.#take(count)
      } catch (error) {
        this.#over = true
        this.#failed(error)
      }
      return true
    },
  }

  #room(): Uint8Array {
    this.#direct = !this.#over && this.#into.length - this.#filled >= DIRECT_BYTES
    return this.#direct ? this.#into.subarray(this.#filled) : this.#staging
  }

  #take(count: number): void {
    if (this.#over) return
    if (this.#direct) {
      this.#filled += count
      this.#advance()
      return
    }
    for (let at = 0; at < count; ) {
      const length = Math.min(count - at, this.#into.length - this.#filled)
      this.#into.set(this.#staging.subarray(at, at + length), this.#filled)
      at += length
      this.#filled += length
      this.#advance()
    }
  }

  #advance(): void {
    while (this.#filled === this.#into.length) {
      this.#into = this.#conversation.next().value
      this.#filled = 0
    }
  }
}
