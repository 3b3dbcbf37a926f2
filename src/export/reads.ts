/**
 * Reads of whole sectors on their way to the client: rows are made of requests,
 * piece by piece, and moved together, in one entry of the enclave, to where they
 * are sent from.
 */
import type { Budget } from "../base/budget.ts"
import type { SectorBatch } from "../volume/sector-batch.ts"
import type { Volume } from "../volume/volume.ts"
import { type Channel, PIECE } from "./channel.ts"
import { putReadChunk, putSimpleReply, READ_CHUNK_BYTES, SIMPLE_BYTES } from "./reply.ts"
import type { Request } from "./request.ts"

/** In front of the data: the longest header, at a multiple of 8. */
const HEAD = 32

interface Row {
  readonly request: Request
  readonly offset: number
  readonly length: number
  /** Where its data is. */
  readonly at: number
}

export class Reads {
  readonly #volume: Volume
  readonly #channel: Channel
  readonly #budget: Budget
  readonly #batch: SectorBatch
  readonly #rows: Row[] = []
  #rest: { readonly request: Request; readonly offset: number } | null = null
  #held = 0

  constructor(volume: Volume, channel: Channel, budget: Budget) {
    this.#volume = volume
    this.#channel = channel
    this.#budget = budget
    this.#batch = volume.newBatch()
  }

  /** Nothing waits for `move`. */
  get empty(): boolean {
    return this.#rows.length === 0
  }

  /** The output has no room for more of a read: `add` it again, for what is left of it, before another one. */
  get rest(): Request | null {
    return this.#rest?.request ?? null
  }

  /** What is left of a read that will not be added again; `null`: of none. */
  giveUp(): Request | null {
    const rest = this.#rest?.request ?? null
    this.#rest = null
    return rest
  }

  /** Gives back the budget held for what is in the output. */
  release(): void {
    this.#budget.give(this.#held)
    this.#held = 0
  }

  /** Makes rows of a read, or of the rest of it. Returns what there was no memory for, to be served on its own. */
  add(request: Request): Request | null {
    const end = request.offset + request.length
    let offset = this.#rest?.offset ?? request.offset
    this.#rest = null
    while (offset < end) {
      const length = Math.min(PIECE, end - offset)
      const at = this.#batch.full ? -1 : this.#channel.reserve(HEAD + length)
      const granted = at >= 0 && this.#budget.tryTake(length)
      if (!granted && (at < 0 || this.#rows.at(-1)?.request === request)) {
        this.#rest = { request, offset }
        return null
      }
      if (!granted) return { ...request, offset, length: end - offset }
      this.#held += length
      this.#batch.add(offset, length, at + HEAD, at + HEAD)
      this.#rows.push({ request, offset, length, at: at + HEAD })
      offset += length
    }
    return null
  }

  /**
   * Moves all rows and makes the replies of those that came. Returns what is left of
   * the others' requests, to be served on their own.
   */
  move(structured: boolean): Request[] {
    if (this.#rows.length === 0) return []
    const { view } = this.#channel
    const moved = this.#volume.readNow(this.#channel.buffer, this.#batch)
    const left: Request[] = []
    let given: Request | null = null
    this.#rows.forEach(({ request, offset, length, at }, row) => {
      if (request === given) return
      const end = request.offset + request.length
      if (!moved || this.#batch.failed(row)) {
        given = request
        // Of what follows nothing has been taken, or it is in this batch.
        if (this.#rest?.request === request) this.#rest = null
        left.push({ ...request, offset, length: end - offset })
      } else if (structured) {
        putReadChunk(view, at - READ_CHUNK_BYTES, request.cookie, offset, length, offset + length === end)
        this.#channel.push(at - READ_CHUNK_BYTES, READ_CHUNK_BYTES + length)
      } else {
        putSimpleReply(view, at - SIMPLE_BYTES, request.cookie, 0)
        this.#channel.push(at - SIMPLE_BYTES, SIMPLE_BYTES + length)
      }
    })
    this.#rows.length = 0
    this.#batch.clear()
    return left
  }
}
