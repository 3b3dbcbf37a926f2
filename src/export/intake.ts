/**
 * Takes one client's requests in from the channel's memory. Whole sectors that
 * need not wait for a disk become rows and are moved at once, many in one entry
 * of the enclave; everything else is admitted (admission.ts) and handed to the
 * service, a request with its payload.
 */
import { Command, MAX_PAYLOAD, REQUEST_BYTES } from "../nbd/protocol.ts"
import type { Volume } from "../volume/volume.ts"
import type { Admission } from "./admission.ts"
import { type Channel, PIECE } from "./channel.ts"
import type { Reads } from "./reads.ts"
import type { Replies } from "./replies.ts"
import { putSimpleReply, SIMPLE_BYTES } from "./reply.ts"
import { costOf, parseRequest, payloadOf, type Request } from "./request.ts"
import type { MovesWrites } from "./writes.ts"

/** Why no more is taken: `input` has not come, `output` has not left, something is `awaited`, it is `over`, by `goodbye` or not. */
export type Stop = "input" | "output" | "awaited" | "over" | "goodbye"

/** A write whose payload is moved as it comes. */
interface Stream {
  readonly request: Request
  /** Bytes that rows have been made of. */
  taken: number
  /** The last of them, from one on that could not be written. */
  unwritten: Buffer | null
}

interface Payload {
  readonly request: Request
  readonly bytes: Buffer
  filled: number
  /** Errno of what was moved of the request before: the rest of it is taken, and not served. */
  readonly error: number
}

interface Unserved {
  readonly request: Request
  readonly payload: Buffer | null
  /** The write that this is the end of: the beginning may be under way. */
  readonly end?: Request
}

/** What becomes of a request that is not moved at once. */
export interface Service {
  /** It has been admitted, and is to `leave` the admission. `payload`: of a write. */
  serve(request: Request, payload: Buffer | null): void
  /** ESHUTDOWN. */
  refuse(request: Request): void
  /** It failed, with an errno. */
  fail(request: Request, error: number): void
  /** A payload of so many bytes will not come: it leaves the admission. */
  left(cost: number): void
}

export interface IntakeParts {
  readonly channel: Channel
  readonly volume: Volume
  readonly admission: Admission
  readonly replies: Replies
  readonly reads: Reads
  readonly writes: MovesWrites
  readonly service: Service
}

export class Intake {
  readonly #channel: Channel
  readonly #volume: Volume
  readonly #admission: Admission
  readonly #replies: Replies
  readonly #reads: Reads
  readonly #writes: MovesWrites
  readonly #service: Service
  #structured = false
  /** Writes that are through, without an answer yet: cookies. */
  readonly #written: bigint[] = []
  /** For want of room in the output. */
  #unanswered = false
  /** What could not be moved at once, waiting for its share of memory. */
  readonly #unserved: Unserved[] = []
  #stream: Stream | null = null
  /** A large payload that could not be moved as it came. */
  #payload: Payload | null = null
  /** Length of the last large write: the next is expected to be alike. */
  #expected = 0

  constructor({ channel, volume, admission, replies, reads, writes, service }: IntakeParts) {
    this.#channel = channel
    this.#volume = volume
    this.#admission = admission
    this.#replies = replies
    this.#reads = reads
    this.#writes = writes
    this.#service = service
  }

  /** Between two requests, with nothing that has begun. */
  get idle(): boolean {
    const pieces = this.#payload !== null || this.#stream !== null || this.#reads.rest !== null
    return !pieces && !this.waiting && !this.owes
  }

  /** Before the first request: whether replies are structured. */
  begin(structured: boolean): void {
    this.#structured = structured
  }

  /** What waits for its share of memory. */
  get waiting(): boolean {
    return this.#unserved.length > 0
  }

  /** Writes are through whose answers are not in the output. */
  get owes(): boolean {
    return this.#written.length > 0
  }

  /** Memory is held for a payload that has come in part, or for the request whose beginning has. */
  get halfway(): boolean {
    return this.#payload !== null || (this.#admission.granted !== null && this.#channel.length > 0)
  }

  /** Bytes that make the next piece complete, so that the one after it starts where the enclave likes it. */
  wanted(): number {
    const { length } = this.#channel
    let whole = 0
    if (this.#stream !== null) whole = Math.min(PIECE, this.#stream.request.length - this.#stream.taken)
    else if (this.#expected > 0) whole = REQUEST_BYTES + Math.min(PIECE, this.#expected)
    return length < whole ? whole - length : PIECE
  }

  /** `held`: a request that has come in part is the last. */
  takeRequests(draining: boolean, held = false): Stop {
    const { view } = this.#channel
    for (;;) {
      if (draining) {
        this.#refuseAll()
        return "over"
      }
      while (this.#unserved.length > 0) {
        const [{ request, payload, end }] = this.#unserved as [Unserved]
        const before = end === undefined ? 0 : this.#writes.settled(end)
        if (before === "under way" || (before === 0 && !this.#admit(costOf(request)))) return "awaited"
        this.#unserved.shift()
        if (end !== undefined) this.#writes.forget(end)
        if (before === 0) this.#service.serve(request, payload)
        else this.#service.fail(request, before)
      }
      if (this.#admission.awaited) return "awaited"
      if (this.#replies.partial || this.#unanswered) return "output"
      if (this.#reads.rest !== null && !this.#takeRead(this.#reads.rest)) return this.#noRoom()
      if (this.#unserved.length > 0) continue
      if (this.#payload !== null) {
        const stop = this.#fillPayload(this.#payload)
        if (stop !== null) return stop
        continue
      }
      if (this.#stream !== null) {
        const stop = this.#takeStream(this.#stream)
        if (stop !== null) return stop
        continue
      }
      if (held) return "awaited"
      if (this.#channel.length < REQUEST_BYTES) return this.#short()
      const request = parseRequest(view, this.#channel.start)
      if (request === null) return "over"
      if (request.type === Command.disc) return "goodbye"
      const stop = request.type === Command.write ? this.#takeWrite(request) : this.#takeOther(request)
      if (stop !== null) return stop
    }
  }

  /** What is there is not enough. */
  #short(): Stop {
    return this.#channel.over ? "over" : "input"
  }

  /** ESHUTDOWN for all that has come and not begun. What has come of a write in part is not waited for. */
  #refuseAll(): void {
    this.moveReads()
    this.moveWrites()
    const channel = this.#channel
    const refused = this.#unserved.splice(0).map(({ request }) => request)
    // Of a read that has left in part: the error is its last chunk.
    const rest = this.#reads.giveUp()
    if (rest !== null) refused.push(rest)
    const begun = this.#payload?.request ?? this.#stream?.request
    this.abandon()
    this.#stream = null
    if (begun !== undefined) refused.push(begun)
    while (begun === undefined && channel.length >= REQUEST_BYTES) {
      const request = parseRequest(channel.view, channel.start)
      if (request === null || request.type === Command.disc) break
      refused.push(request)
      channel.take(Math.min(channel.length, REQUEST_BYTES + payloadOf(request)))
    }
    for (const request of refused) this.#service.refuse(request)
  }

  #takeOther(request: Request): Stop | null {
    if (request.type === Command.read && this.#fits(request)) {
      this.#channel.take(REQUEST_BYTES)
      return this.#takeRead(request) ? null : this.#noRoom()
    }
    const cost = costOf(request)
    if (!this.#admit(cost > MAX_PAYLOAD ? 0 : cost)) return "awaited"
    this.#channel.take(REQUEST_BYTES)
    this.#service.serve(request, null)
    return null
  }

  /** Whether a read may be moved at once. */
  #fits({ flags, offset, length }: Request): boolean {
    // Without chunks, or with DF, an error cannot follow data: one piece, or none.
    if (flags !== 0 || (!this.#structured && length > PIECE)) return false
    return this.#volume.readsNow(offset, length)
  }

  /** For more of a read. */
  #noRoom(): Stop {
    return this.#reads.awaited ? "awaited" : "output"
  }

  /** False: there is no room for all of it. */
  #takeRead(request: Request): boolean {
    const unserved = this.#reads.add(request)
    if (unserved !== null) this.#unserved.push({ request: unserved, payload: null })
    return this.#reads.rest === null
  }

  #takeWrite(request: Request): Stop | null {
    const channel = this.#channel
    const { length } = request
    // Beyond this limit, the start of the next request is known only after receiving all of this one.
    if (length > MAX_PAYLOAD) return "over"
    this.#expected = length >= PIECE ? length : 0
    if (length >= PIECE) {
      if (request.flags !== 0) return this.#takePayload(request)
      this.#stream = { request, taken: 0, unwritten: null }
      channel.expect("payload")
      channel.take(REQUEST_BYTES)
      return null
    }
    if (channel.length < REQUEST_BYTES + length) {
      channel.allowPayload(length)
      return this.#short()
    }
    const payload = channel.start + REQUEST_BYTES
    if (request.flags === 0 && this.#volume.writesNow(request.offset, length)) {
      if (!this.#writes.takes(length)) this.moveWrites()
      if (!this.#writes.takes(length)) return "awaited"
      this.#writes.add(request, 0, length, payload)
    } else {
      if (!this.#admit(length)) return "awaited"
      this.#service.serve(request, Buffer.from(channel.bytes.subarray(payload, payload + length)))
    }
    channel.allowPayload(0)
    channel.take(REQUEST_BYTES + length)
    return null
  }

  /** Moves a payload piece by piece: none waits for the rest, which the client sends meanwhile. */
  #takeStream(stream: Stream): Stop | null {
    const channel = this.#channel
    const { request, taken } = stream
    const rest = { ...request, offset: request.offset + taken, length: request.length - taken }
    const length = Math.min(PIECE, rest.length)
    const now = stream.unwritten === null && this.#volume.writesNow(rest.offset, rest.length)
    if (now && channel.length < length) {
      if (!this.#admit(PIECE)) return "awaited"
      channel.allowPayload(PIECE)
      return this.#short()
    }
    if (!now || !this.#writes.takes(length)) this.moveWrites()
    // What is left waits and tries again; it has the only reply.
    if (!now || stream.unwritten !== null) return this.#takeRest(stream)
    if (!this.#writes.takes(length)) return "awaited"
    this.#writes.add(request, taken, length, channel.start)
    stream.taken += length
    channel.take(length)
    if (length === rest.length) this.#endStream()
    this.#writes.defer()
    return null
  }

  #takeRest({ request, taken, unwritten }: Stream): Stop | null {
    const before = this.#writes.settled(request)
    if (before === "under way") return "awaited"
    const done = taken - (unwritten?.length ?? 0)
    const rest = { ...request, offset: request.offset + done, length: request.length - done }
    const stop = this.#takePayload(rest, before)
    if (stop !== null || this.#payload === null) return stop
    this.#writes.forget(request)
    if (unwritten === null) return null
    this.#payload.bytes.set(unwritten)
    this.#payload.filled = unwritten.length
    return null
  }

  #endStream(): void {
    this.#stream = null
    this.#channel.expect("request")
  }

  /** What comes is kept until it is complete, and then served on its own. */
  #takePayload(request: Request, error = 0): Stop | null {
    const { length } = request
    // It holds its memory until all of it has come: whatever came before must have had its own by then.
    this.moveReads()
    this.moveWrites()
    if (this.#unserved.length > 0) return null
    if (!this.#admit(length)) return "awaited"
    if (this.#stream === null) this.#channel.take(REQUEST_BYTES)
    else this.#endStream()
    this.#channel.allowPayload(0)
    this.#admission.enter()
    this.#payload = { request, bytes: Buffer.alloc(length), filled: 0, error }
    return null
  }

  /** What is left of a read that could not be transferred. */
  leave(request: Request): void {
    this.#unserved.push({ request, payload: null })
  }

  moveReads(): void {
    for (const request of this.#reads.move(this.#structured)) this.#unserved.push({ request, payload: null })
  }

  /** False: there were no rows. */
  moveWrites(): boolean {
    const outcomes = this.#writes.move()
    for (const { request, unwritten, complete } of outcomes) {
      if (unwritten === null) {
        if (complete) this.#written.push(request.cookie)
      } else if (complete) {
        const { length } = unwritten
        const offset = request.offset + request.length - length
        this.#unserved.push({ request: { ...request, offset, length }, payload: unwritten, end: request })
      } else {
        this.#stream!.unwritten = unwritten
      }
    }
    return outcomes.length > 0
  }

  /** A write that was under way has ended. */
  ended(request: Request, error: number): void {
    if (error === 0) this.#written.push(request.cookie)
    else this.#service.fail(request, error)
  }

  /** False: there is no room for all answers. */
  answerWrites(): boolean {
    if (this.#written.length === 0) return true
    // In the middle of another's reply nothing else may come, also where there is room for it.
    if (this.#replies.partial) return false
    let answered = 0
    for (const cookie of this.#written) {
      const reply = this.#channel.reserve(SIMPLE_BYTES)
      if (reply < 0) break
      putSimpleReply(this.#channel.view, reply, cookie, 0)
      this.#channel.push(reply, SIMPLE_BYTES)
      answered++
    }
    this.#written.splice(0, answered)
    this.#unanswered = this.#written.length > 0
    return !this.#unanswered
  }

  #fillPayload(payload: Payload): Stop | null {
    const channel = this.#channel
    const { request, bytes, filled } = payload
    const part = Math.min(channel.length, bytes.length - filled)
    channel.bytes.copy(bytes, filled, channel.start, channel.start + part)
    channel.take(part)
    payload.filled += part
    if (payload.filled < bytes.length) return this.#short()
    this.#payload = null
    this.#admission.handOver(bytes.length)
    if (payload.error === 0) {
      this.#service.serve(request, bytes)
    } else {
      this.release()
      this.#service.fail(request, payload.error)
    }
    return null
  }

  #admit(cost: number): boolean {
    if (this.#admission.granted !== cost) this.release()
    return this.#admission.admit(cost)
  }

  release(): void {
    if (this.#admission.release()) this.#channel.allowPayload(0)
  }

  /** The rest of a payload will not come. */
  abandon(): void {
    const payload = this.#payload
    this.#payload = null
    if (payload === null) return
    this.#service.left(payload.request.length)
  }
}
