/**
 * Writes of whole sectors on their way to the file: rows are made of requests
 * where these lie in the channel, left to wait while more is received, and moved
 * together, in one entry of the enclave.
 */
import { type SectorBatch, WRITE_BYTES } from "../volume/sector-batch.ts"
import type { Volume } from "../volume/volume.ts"
import type { Channel } from "./channel.ts"
import type { Request } from "./request.ts"

/** So often rows are left to wait: each time takes a room of the channel. */
const DEFERRALS = 2

/** A small write, or a piece of a large one. */
interface Row {
  readonly request: Request
  /** Bytes of the request that come before it. */
  readonly from: number
  readonly length: number
  /** Where its payload is. */
  readonly payload: number
}

/** What became of the rows of one request, the last ones of it that there are. */
export interface Outcome {
  readonly request: Request
  /** From the first row on that failed; what was written behind it is to be written again. `null`: none did. */
  readonly unwritten: Buffer | null
  /** No more rows come. */
  readonly complete: boolean
}

/** Takes rows from where their payload lies in the channel, and moves them together. */
export interface MovesWrites {
  /** Whether another row can be added before these are moved, or before what is under way has ended. */
  takes(length: number): boolean
  /** A row: `length` bytes of the request, from its byte `from` on. Its payload stays where it is until `move`. */
  add(request: Request, from: number, length: number, payload: number): void
  /** Lets more be received first: that keeps the client busy, and more rows go in one entry. */
  defer(): void
  /** Outcomes in the order of requests. */
  move(): Outcome[]
  /** What became of the rows before those that were unwritten: an errno, or 0. */
  settled(request: Request): number | "under way"
  /** The rest of it is served on its own. */
  forget(request: Request): void
  /** Rows have been moved whose end is not known. */
  readonly underWay: boolean
}

export class Writes implements MovesWrites {
  readonly #volume: Volume
  readonly #channel: Channel
  readonly #batch: SectorBatch
  readonly #rows: Row[] = []
  #deferred = 0
  /** Rows were added after the last deferral. */
  #fresh = false
  #ciphertextUsed = 0

  constructor(volume: Volume, channel: Channel) {
    this.#volume = volume
    this.#channel = channel
    this.#batch = volume.newBatch()
  }

  readonly underWay = false

  /** All of them have ended by the time they are unwritten. */
  settled(): 0 {
    return 0
  }

  forget(): void {}

  takes(length: number): boolean {
    return this.#deferred < DEFERRALS && !this.#batch.full && this.#ciphertextUsed + length <= WRITE_BYTES
  }

  add(request: Request, from: number, length: number, payload: number): void {
    this.#batch.add(request.offset + from, length, this.#ciphertextUsed, payload)
    this.#rows.push({ request, from, length, payload })
    this.#fresh = true
    this.#ciphertextUsed += (length + 7) & ~7
  }

  defer(): void {
    if (!this.#fresh) return
    this.#fresh = false
    this.#deferred++
    this.#channel.keep(this.#rows.at(-1)!.payload)
  }

  /** One outcome for each request, in their order; none: there were no rows. */
  move(): Outcome[] {
    if (this.#rows.length === 0) return []
    const moved = this.#volume.writeNow(this.#channel.buffer, this.#batch)
    const outcomes: Outcome[] = []
    let parts: Buffer[] = []
    this.#rows.forEach(({ request, from, length, payload }, row) => {
      if (parts.length > 0 || !moved || this.#batch.failed(row)) {
        parts.push(Buffer.from(this.#channel.bytes.subarray(payload, payload + length)))
      }
      const complete = from + length === request.length
      if (!complete && this.#rows[row + 1]?.request === request) return
      outcomes.push({ request, complete, unwritten: parts.length > 0 ? Buffer.concat(parts) : null })
      parts = []
    })
    this.#rows.length = 0
    this.#fresh = false
    this.#deferred = 0
    this.#ciphertextUsed = 0
    this.#batch.clear()
    return outcomes
  }
}
