/**
 * Reads that wait for a disk: pieces under way in the volume's transfers, sent from
 * where they come to. The pieces of one read leave in their order; from one on that
 * failed, the read is served on its own, by who waits, tries again and knows what to say.
 */
import type { Disk } from "../store/disk.ts"
import type { Volume } from "../volume/volume.ts"
import type { Channel } from "./channel.ts"
import { putReadHead, READ_CHUNK_BYTES } from "./reply.ts"
import type { Request } from "./request.ts"

const HEAD = (READ_CHUNK_BYTES + 7) & ~7

interface Piece {
  readonly disk: Disk
  readonly offset: number
  readonly length: number
  /** Where in the disk's memory. */
  readonly at: number
  state: "under way" | "there" | "failed"
}

interface Read {
  readonly request: Request
  readonly pieces: Piece[]
  /** Where what has not left begins. */
  next: number
  /** That is served elsewhere, or by nobody. */
  given: boolean
}

export interface TransferEvents {
  /** What is left of a read, to be served on its own. */
  readonly left: (rest: Request, of: Request) => void
  /** There is something to be sent, or room for more. */
  readonly progress: () => void
}

export class TransferredReads {
  readonly #volume: Volume
  readonly #channel: Channel
  readonly #share: () => number
  readonly #events: TransferEvents
  readonly #reads = new Map<Request, Read>()
  /** Bytes of memory held: under way, or not sent yet. */
  #held = 0
  /** Pieces that the volume has. */
  #underWay = 0
  #structured = false
  /** Something that has come waits for room in the output. */
  #blocked = false

  /** `share`: bytes this connection may hold. */
  constructor(volume: Volume, channel: Channel, share: () => number, events: TransferEvents) {
    this.#volume = volume
    this.#channel = channel
    this.#share = share
    this.#events = events
  }

  /** Before the first request: whether replies are structured. */
  begin(structured: boolean): void {
    this.#structured = structured
  }

  /** Whether pieces are under way or wait to be sent. */
  get waiting(): boolean {
    return this.#reads.size > 0
  }

  /** Whether the volume has pieces. */
  get underWay(): boolean {
    return this.#underWay > 0
  }

  /** What has come waits for room in the output. */
  get blocked(): boolean {
    return this.#blocked
  }

  /** Memory is held that others may wait for. */
  get holds(): boolean {
    return this.#held > 0
  }

  /** No piece is to be added before another was sent. */
  get full(): boolean {
    return this.holds && this.#held >= this.#share()
  }

  /** Whether pieces of the read have been added, and not all of them are in the output. */
  has(request: Request): boolean {
    return this.#reads.size > 0 && this.#reads.has(request)
  }

  /** The next piece of a read. False: there is no memory now, or there are no transfers. */
  add(request: Request, offset: number, length: number): boolean {
    const { disk } = this.#volume
    if (disk === null) return false
    const at = disk.reserve(length)
    if (at < 0) return false
    const read = this.#reads.get(request) ?? { request, pieces: [], next: offset, given: false }
    this.#reads.set(request, read)
    const piece: Piece = { disk, offset, length, at, state: "under way" }
    read.pieces.push(piece)
    this.#held += length
    this.#underWay++
    this.#volume.transfer(disk, offset, length, at, (error) => {
      piece.state = error === 0 ? "there" : "failed"
      this.#underWay--
      if (read.given || this.#channel.closed) this.#discard(read)
      this.#events.progress()
    })
    return true
  }

  /** What is left of a read from its first piece on that has not left; `null`: none has come here. */
  giveUp(request: Request): Request | null {
    const read = this.#reads.get(request)
    return read === undefined ? null : this.#give(read)
  }

  #give(read: Read): Request {
    const { request, next } = read
    read.given = true
    this.#reads.delete(request)
    this.#discard(read)
    return { ...request, offset: next, length: request.offset + request.length - next }
  }

  /** Gives memory back that nobody has. */
  #discard({ pieces }: Read): void {
    for (const piece of pieces.splice(0)) {
      if (piece.state === "under way") pieces.push(piece)
      else this.#release(piece)
    }
  }

  /** Moves what has come into the output, as far as there is room. */
  fill(): void {
    this.#blocked = false
    if (this.#reads.size === 0) return
    for (const read of [...this.#reads.values()]) this.#take(read)
  }

  #take(read: Read): void {
    const { request, pieces } = read
    for (let piece = pieces[0]; piece !== undefined && piece.state !== "under way"; piece = pieces[0]) {
      if (piece.state === "failed") {
        this.#events.left(this.#give(read), request)
        return
      }
      if (!this.#send(request, piece)) {
        this.#blocked = true
        return
      }
      pieces.shift()
      read.next = piece.offset + piece.length
      if (read.next === request.offset + request.length) this.#reads.delete(request)
    }
  }

  #send(request: Request, piece: Piece): boolean {
    const channel = this.#channel
    const { disk, offset, length, at } = piece
    const head = channel.reserve(HEAD)
    if (head < 0) return false
    const bytes = putReadHead(channel.view, head + HEAD, request, offset, length, this.#structured)
    channel.push(head + HEAD - bytes, bytes)
    channel.pushLent(disk.buffer, at, length, () => this.#release(piece))
    return true
  }

  #release({ disk, at, length }: Piece): void {
    disk.release(at, length)
    this.#held -= length
  }

  /** Nobody takes them any more. */
  drop(): void {
    for (const read of [...this.#reads.values()]) this.#give(read)
  }
}
