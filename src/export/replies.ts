/** Replies made elsewhere, on their way into the channel's output, in their order and as there is room. */
import { type Channel, PIECE } from "./channel.ts"

interface Reply {
  readonly parts: Uint8Array[]
  /** Called when all of it is in the output, or nobody is there to take it. */
  readonly taken: () => void
}

export class Replies {
  readonly #channel: Channel
  readonly #replies: Reply[] = []
  #partial = false

  constructor(channel: Channel) {
    this.#channel = channel
  }

  get waiting(): boolean {
    return this.#replies.length > 0
  }

  /** The first of them is in the output in part: nothing else may come between. */
  get partial(): boolean {
    return this.#partial
  }

  /** `taken`: called when all of it is in the output, or nobody is there to take it. */
  add(parts: Uint8Array[], taken: () => void): void {
    this.#replies.push({ parts, taken })
  }

  /** Moves replies made elsewhere into the output, as far as there is room. */
  fill(): void {
    for (let reply = this.#replies[0]; reply !== undefined; reply = this.#replies[0]) {
      this.#partial = true
      for (let part = reply.parts[0]; part !== undefined; part = reply.parts[0]) {
        const piece = part.subarray(0, PIECE)
        const at = this.#channel.reserve(piece.length)
        if (at < 0) return
        this.#channel.bytes.set(piece, at)
        this.#channel.push(at, piece.length)
        if (piece.length === part.length) reply.parts.shift()
        else reply.parts[0] = part.subarray(piece.length)
      }
      this.#replies.shift()
      this.#partial = false
      reply.taken()
    }
  }

  /** Nobody is there to take them. */
  drop(): void {
    for (const { taken } of this.#replies.splice(0)) taken()
  }
}
