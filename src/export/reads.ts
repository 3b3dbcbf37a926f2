/**
 * Reads of whole sectors on their way to the client: rows are made of requests,
 * piece by piece, and moved together, in one entry of the enclave, to where they
 * are sent from. What would have to wait for a disk is transferred (transferred-reads.ts).
 */
import type { Budget } from "../base/budget.ts"
import type { SectorBatch } from "../volume/sector-batch.ts"
import type { Volume } from "../volume/volume.ts"
import { type Channel, PIECE } from "./channel.ts"
import { putReadHead, READ_CHUNK_BYTES } from "./reply.ts"
import type { Request } from "./request.ts"
import type { TransferredReads } from "./transferred-reads.ts"

/** In front of the data: the longest header, at a multiple of 8. */
const HEAD = (READ_CHUNK_BYTES + 7) & ~7

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
  readonly #transferred: TransferredReads
  readonly #batch: SectorBatch
  readonly #rows: Row[] = []
  #rest: { readonly request: Request; readonly offset: number } | null = null
  #held = 0

  constructor(volume: Volume, channel: Channel, budget: Budget, transferred: TransferredReads) {
    this.#volume = volume
    this.#channel = channel
    this.#budget = budget
    this.#transferred = transferred
    this.#batch = volume.newBatch()
  }

  /** Nothing waits for `move`. */
  get empty(): boolean {
    return this.#rows.length === 0
  }

  /** There is no room for more of a read: `add` it again, for what is left of it, before another one. */
  get rest(): Request | null {
    return this.#rest?.request ?? null
  }

  /** The rest waits for the disk, not for the output. */
  get awaited(): boolean {
    const { rest } = this
    const { full, underWay } = this.#transferred
    return rest !== null && underWay && (full || this.#transferred.has(rest))
  }

  /** The read is served elsewhere: its rest is not added again. */
  forget(request: Request): void {
    if (this.rest === request) this.#rest = null
  }

  /** What is left of a read that will not be added again; `null`: of none. */
  giveUp(): Request | null {
    const rest = this.#rest?.request ?? null
    this.#rest = null
    return rest === null ? null : (this.#transferred.giveUp(rest) ?? rest)
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
    const begun = this.#transferred.has(request)
    while (offset < end) {
      const length = Math.min(PIECE, end - offset)
      if (this.#transferred.full) {
        this.#rest = { request, offset }
        return null
      }
      if (begun) {
        // A read that has begun to wait goes on that way.
        if (this.#transferred.add(request, offset, length)) {
          offset += length
          continue
        }
        // Memory that this connection holds comes back with news; of others' there are none.
        if (!this.#transferred.holds) return this.#transferred.giveUp(request)
        this.#rest = { request, offset }
        return null
      }
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
      const waits = this.#transferred.has(request) || (moved && this.#batch.waits(row))
      if (waits && this.#transferred.add(request, offset, length)) return
      const end = request.offset + request.length
      if (waits || !moved || this.#batch.failed(row)) {
        given = request
        // Of what follows nothing has been taken, or it is in this batch.
        this.forget(request)
        left.push(this.#transferred.giveUp(request) ?? { ...request, offset, length: end - offset })
      } else {
        const bytes = putReadHead(view, at, request, offset, length, structured)
        this.#channel.push(at - bytes, bytes + length)
      }
    })
    this.#rows.length = 0
    this.#batch.clear()
    return left
  }
}
