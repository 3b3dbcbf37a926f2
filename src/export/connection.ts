/**
 * One client. Requests are taken from the channel's memory as they come; whole
 * sectors that need not wait for a disk are moved at once, many in one entry of
 * the enclave, and everything else is served side by side, each request on its
 * own. What a request holds in memory is taken from the shared budget first, and
 * given back when its reply has left; so a client that asks and does not read
 * waits, and holds little.
 */

import type { Budget } from "../base/budget.ts"
import { IoError } from "../base/io-error.ts"
import { READABLE, WRITABLE } from "../native/channel.ts"
import { Command, MAX_PAYLOAD, REQUEST_BYTES, Transmission } from "../nbd/protocol.ts"
import type { Volume } from "../volume/volume.ts"
import { Admission } from "./admission.ts"
import { BusyWait } from "./busy-wait.ts"
import { Channel, PIECE } from "./channel.ts"
import { type Negotiated, negotiate } from "./handshake.ts"
import { Reads } from "./reads.ts"
import { putSimpleReply, SIMPLE_BYTES } from "./reply.ts"
import { costOf, parseRequest, payloadOf, type Request } from "./request.ts"
import { answer, refusal } from "./serve.ts"
import { Writes } from "./writes.ts"

/** Then others have their turn. */
const ROUNDS = 16
/** Replies may be kept back so long, and so many bytes of them. */
const KEPT_ROUNDS = 4
const KEPT_BYTES = 4096

export interface ConnectionOptions {
  readonly volume: Volume
  readonly budget: Budget
  /** Bytes one connection may have in work now; a larger single request runs alone. */
  readonly share: () => number
  readonly stallMs: number
  readonly attention: Attention
}

/** What the connections of a server share: only one client that is alone is waited for without sleeping. */
export interface Attention {
  /** There is a CPU for a client beside ours. */
  readonly possible: boolean
  /** Who was heard last. */
  last: Connection | null
}

/** Why no more is taken: `input` has not come, `output` has not left, something is `awaited`, it is `over`. */
type Stop = "input" | "output" | "awaited" | "over"

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
}

interface Unserved {
  readonly request: Request
  readonly payload: Buffer | null
}

interface Reply {
  readonly parts: Uint8Array[]
  /** Called when all of it is in the output, or nobody is there to take it. */
  readonly taken: () => void
}

export class Connection {
  readonly #channel: Channel
  readonly #volume: Volume
  readonly #admission: Admission
  readonly #stallMs: number
  readonly #attention: Attention
  readonly #busyWait = new BusyWait()
  readonly #closed = new AbortController()
  #negotiated: Negotiated = { structured: false, allocation: false }
  #transmitting = false
  /** No request is begun any more. */
  #draining = false
  /** Those that have begun stop at their next step. */
  #expired = false
  /** The client said goodbye, and is owed what it asked for before. */
  #goodbye = false
  #finished = false
  #progress: (() => void)[] = []
  /** When the client was last heard. */
  #heard = performance.now()

  readonly #reads: Reads
  readonly #writes: Writes
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
  /** Replies made elsewhere. */
  readonly #replies: Reply[] = []
  /** The first of them has left in part. */
  #replying = false

  /** `fd` is duplicated. */
  constructor(fd: number, { volume, budget, share, stallMs, attention }: ConnectionOptions) {
    this.#volume = volume
    this.#stallMs = stallMs
    this.#attention = attention
    this.#channel = new Channel(fd, (events) => this.#onEvent(events))
    this.#admission = new Admission(budget, share, this.#closed.signal, () => this.#pump())
    this.#reads = new Reads(volume, this.#channel, budget)
    this.#writes = new Writes(volume, this.#channel)
  }

  /** Resolves when the connection has ended. */
  async run(): Promise<void> {
    const channel = this.#channel
    try {
      const wire = { read: (length: number) => this.#read(length), write: (bytes: Uint8Array) => this.#reply([bytes]) }
      this.#arm()
      const negotiated = await this.#within(this.#stallMs, () => negotiate(wire, this.#description()))
      if (negotiated !== null) {
        this.#negotiated = negotiated
        this.#transmitting = true
        this.#pump()
        while (!this.#finished && !channel.closed) await this.#wait()
      }
      while (this.#admission.requests > 0 && !channel.closed) await this.#wait()
      // A client that does not take its answers is not waited for.
      await this.#within(this.#stallMs, async () => {
        while (this.#owes() && !channel.closed) await this.#wait()
      })
    } finally {
      this.cut()
    }
  }

  /**
   * Begins no more requests: they are answered with ESHUTDOWN. What has begun may
   * take half of `graceMs`, everything together all of it; then `run` resolves.
   */
  close(graceMs: number): void {
    if (this.#draining) return
    this.#draining = true
    const expiry = setTimeout(() => (this.#expired = true), graceMs / 2)
    const end = setTimeout(() => this.cut(), graceMs)
    this.#closed.signal.addEventListener("abort", () => {
      clearTimeout(expiry)
      clearTimeout(end)
    })
    if (this.#transmitting && !this.#finished) this.#pump()
    else this.#wake()
  }

  /** Whether the client has left replies lying, or a request it holds memory for incomplete, for `ms`. */
  stuck(ms: number): boolean {
    const now = performance.now()
    const halfway = this.#payload !== null || (this.#admission.granted !== null && this.#channel.length > 0)
    return (this.#owes() && now - this.#channel.moved >= ms) || (halfway && now - this.#heard >= ms)
  }

  /** Gives back what is held for a payload that has not begun to come. */
  relax(): void {
    if (this.#channel.length === 0 && !this.#admission.awaited) this.#release()
  }

  /** Called now and then: gives idle memory back. A client may be silent, in the middle of a request too. */
  check(): void {
    this.relax()
    this.#channel.rest()
  }

  cut(): void {
    this.#channel.close()
    this.#ended()
  }

  /** After the channel has closed. */
  #ended(): void {
    if (this.#closed.signal.aborted) return
    this.#closed.abort()
    this.#reads.release()
    this.#admission.release()
    this.#abandon()
    for (const { taken } of this.#replies.splice(0)) taken()
    this.#wake()
  }

  /** Cuts the peer off when `body` takes longer. */
  async #within<T>(ms: number, body: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.cut(), ms)
    try {
      return await body()
    } finally {
      clearTimeout(timer)
    }
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => this.#progress.push(resolve))
  }

  #wake(): void {
    for (const wake of this.#progress.splice(0)) wake()
  }

  #description() {
    const { size, sectorSize, readOnly, discards } = this.#volume
    const { hasFlags, flush, fua, multiConn, cache, writeZeroes, trim, df } = Transmission
    // Every connection sees what another has written, and a flush on one covers them all: multiConn.
    const always = hasFlags | flush | multiConn | cache
    const changes = readOnly ? Transmission.readOnly : fua | writeZeroes | (discards ? trim : 0)
    return {
      size,
      preferredBlock: Math.max(4096, sectorSize),
      flags: (structured: boolean) => always | changes | (structured ? df : 0),
    }
  }

  // ---- The socket

  #onEvent(events: number): void {
    if ((events & READABLE) !== 0) {
      this.#heard = performance.now()
      this.#busyWait.end(this.#heard * 1000)
      this.#attention.last = this
      this.#receive()
    }
    if (this.#transmitting && !this.#finished) this.#pump()
    else {
      this.#send()
      this.#wake()
    }
    this.#arm()
  }

  #receive(microseconds = 0): boolean {
    const got = this.#channel.receive(this.#wanted(), microseconds)
    if (this.#channel.closed) this.#ended()
    return got
  }

  /** Bytes that make the next piece complete, so that the one after it starts where the enclave likes it. */
  #wanted(): number {
    const { length } = this.#channel
    let whole = 0
    if (this.#stream !== null) whole = Math.min(PIECE, this.#stream.request.length - this.#stream.taken)
    else if (this.#expected > 0) whole = REQUEST_BYTES + Math.min(PIECE, this.#expected)
    return length < whole ? whole - length : PIECE
  }

  #arm(): void {
    const readable = this.#channel.hasRoom && !this.#draining ? READABLE : 0
    this.#channel.poll(readable | (this.#channel.unsent > 0 ? WRITABLE : 0))
  }

  /** The handshake's way to read. `null`: the peer left. */
  async #read(length: number): Promise<Buffer | null> {
    const channel = this.#channel
    while (channel.length < length) {
      if (channel.over || channel.closed || this.#draining) return null
      if (this.#receive()) continue
      this.#arm()
      await this.#wait()
    }
    const bytes = Buffer.from(channel.bytes.subarray(channel.start, channel.start + length))
    channel.take(length)
    return bytes
  }

  #owes(): boolean {
    return this.#channel.unsent > 0 || this.#replies.length > 0 || this.#written.length > 0
  }

  /** Resolves when the reply is in the output, or nobody is there to take it. */
  #reply(parts: Uint8Array[]): Promise<void> {
    if (this.#channel.closed) return Promise.resolve()
    return new Promise((taken) => {
      this.#replies.push({ parts, taken })
      // In the middle of a turn, its end sends.
      if (this.#reads.empty) this.#send()
      this.#arm()
    })
  }

  /** True: nothing is left to be sent. */
  #send(): boolean {
    const channel = this.#channel
    do {
      this.#fillOutput()
      if (!channel.send()) {
        if (channel.closed) this.#ended()
        return false
      }
      this.#reads.release()
    } while (this.#replies.length > 0)
    return true
  }

  /** Moves replies made elsewhere into the output, as far as there is room. */
  #fillOutput(): void {
    for (let reply = this.#replies[0]; reply !== undefined; reply = this.#replies[0]) {
      this.#replying = true
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
      this.#replying = false
      reply.taken()
    }
  }

  // ---- Transmission

  /** Takes requests in and moves data until something has to be waited for. */
  #pump(): void {
    try {
      this.#turn()
    } finally {
      // Another turn of the event loop may lock what they write to.
      this.#moveWrites()
    }
  }

  #turn(): void {
    let kept = 0
    for (let round = 0; round < ROUNDS; round++) {
      if (this.#finished || this.#channel.closed) return
      const taken = this.#takeRequests()
      this.#moveReads()
      this.#writes.defer()
      const stop = this.#answerWrites() ? taken : "output"
      // To wake the client for each small reply costs more than the reply: several go together while requests come.
      if (
        stop === "input" &&
        this.#unserved.length === 0 &&
        ++kept < KEPT_ROUNDS &&
        this.#channel.unsent < KEPT_BYTES
      ) {
        if (this.#receive()) continue
        if (this.#channel.closed) return
      }
      kept = 0
      const sent = this.#send()
      if (this.#channel.closed) return
      // What could not be moved at once is served first.
      const goesOn =
        stop === "output"
          ? sent
          : stop !== "awaited" && (this.#unserved.length > 0 || (stop === "input" && this.#receive()))
      if (!goesOn && !this.#moveWrites() && !(stop === "input" && this.#waitBusily())) {
        this.#pause(stop)
        return
      }
    }
    setImmediate(() => {
      this.#pump()
      this.#arm()
    })
  }

  /** Whether input came. */
  #waitBusily(): boolean {
    this.#busyWait.begin(performance.now() * 1000)
    const { possible, last } = this.#attention
    const { window } = this.#busyWait
    return window > 0 && possible && last === this && this.#receive(window)
  }

  /** Until there is something to go on with. */
  #pause(stop: Stop): void {
    if (stop === "over") {
      this.#finished = true
      this.#abandon()
      this.#wake()
    }
    // They were asked to spare some when the first began to wait; what was in use then is not any more.
    if (this.#admission.contended) this.relax()
    this.#arm()
  }

  #takeRequests(): Stop {
    const { view } = this.#channel
    for (;;) {
      if (this.#draining) {
        this.#refuseAll()
        return "over"
      }
      while (this.#unserved.length > 0) {
        const [{ request, payload }] = this.#unserved as [Unserved]
        if (!this.#admit(costOf(request))) return "awaited"
        this.#unserved.shift()
        this.#serve(request, payload)
      }
      if (this.#admission.awaited) return "awaited"
      if (this.#replying || this.#unanswered) return "output"
      if (this.#reads.rest !== null && !this.#takeRead(this.#reads.rest)) return "output"
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
      if (this.#channel.length < REQUEST_BYTES) return this.#short()
      const request = parseRequest(view, this.#channel.start)
      this.#goodbye = request?.type === Command.disc
      if (request === null || this.#goodbye) return "over"
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
    this.#moveReads()
    this.#moveWrites()
    const channel = this.#channel
    const refused = this.#unserved.splice(0).map(({ request }) => request)
    // Of a read that has left in part: the error is its last chunk.
    const rest = this.#reads.giveUp()
    if (rest !== null) refused.push(rest)
    const begun = this.#payload?.request ?? this.#stream?.request
    this.#abandon()
    this.#stream = null
    if (begun !== undefined) refused.push(begun)
    while (begun === undefined && channel.length >= REQUEST_BYTES) {
      const request = parseRequest(channel.view, channel.start)
      if (request === null || request.type === Command.disc) break
      refused.push(request)
      channel.take(Math.min(channel.length, REQUEST_BYTES + payloadOf(request)))
    }
    const error = new IoError("ESHUTDOWN", "the volume is being closed")
    for (const request of refused) void this.#reply(refusal(request, this.#negotiated, error))
  }

  #takeOther(request: Request): Stop | null {
    if (request.type === Command.read && this.#fits(request)) {
      this.#channel.take(REQUEST_BYTES)
      return this.#takeRead(request) ? null : "output"
    }
    const cost = costOf(request)
    if (!this.#admit(cost > MAX_PAYLOAD ? 0 : cost)) return "awaited"
    this.#channel.take(REQUEST_BYTES)
    this.#serve(request, null)
    return null
  }

  /** Whether a read may be moved at once. */
  #fits({ flags, offset, length }: Request): boolean {
    // Without chunks, or with DF, an error cannot follow data: one piece, or none.
    if (flags !== 0 || (!this.#negotiated.structured && length > PIECE)) return false
    return this.#volume.readsNow(offset, length)
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
      if (!this.#writes.takes(length)) this.#moveWrites()
      this.#writes.add(request, 0, length, payload)
    } else {
      if (!this.#admit(length)) return "awaited"
      this.#serve(request, Buffer.from(channel.bytes.subarray(payload, payload + length)))
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
    if (!now || !this.#writes.takes(length)) this.#moveWrites()
    // What is left waits and tries again; it has the only reply.
    if (!now || stream.unwritten !== null) return this.#takeRest(stream)
    this.#writes.add(request, taken, length, channel.start)
    stream.taken += length
    channel.take(length)
    if (length === rest.length) this.#endStream()
    this.#writes.defer()
    return null
  }

  #takeRest({ request, taken, unwritten }: Stream): Stop | null {
    const done = taken - (unwritten?.length ?? 0)
    const rest = { ...request, offset: request.offset + done, length: request.length - done }
    const stop = this.#takePayload(rest)
    if (stop !== null || this.#payload === null || unwritten === null) return stop
    this.#payload.bytes.set(unwritten)
    this.#payload.filled = unwritten.length
    return null
  }

  #endStream(): void {
    this.#stream = null
    this.#channel.expect("request")
  }

  /** What comes is kept until it is complete, and then served on its own. */
  #takePayload(request: Request): Stop | null {
    const { length } = request
    // It holds its memory until all of it has come: whatever came before must have had its own by then.
    this.#moveReads()
    this.#moveWrites()
    if (this.#unserved.length > 0) return null
    if (!this.#admit(length)) return "awaited"
    if (this.#stream === null) this.#channel.take(REQUEST_BYTES)
    else this.#endStream()
    this.#channel.allowPayload(0)
    this.#admission.enter()
    this.#payload = { request, bytes: Buffer.alloc(length), filled: 0 }
    return null
  }

  #moveReads(): void {
    for (const request of this.#reads.move(this.#negotiated.structured)) this.#unserved.push({ request, payload: null })
  }

  /** False: there were no rows. */
  #moveWrites(): boolean {
    const outcomes = this.#writes.move()
    for (const { request, unwritten, complete } of outcomes) {
      if (unwritten === null) {
        if (complete) this.#written.push(request.cookie)
      } else if (complete) {
        const { length } = unwritten
        const offset = request.offset + request.length - length
        this.#unserved.push({ request: { ...request, offset, length }, payload: unwritten })
      } else {
        this.#stream!.unwritten = unwritten
      }
    }
    return outcomes.length > 0
  }

  /** False: there is no room for all answers. */
  #answerWrites(): boolean {
    if (this.#written.length === 0) return true
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
    this.#serve(request, bytes)
    return null
  }

  // ---- Requests served on their own

  #admit(cost: number): boolean {
    if (this.#admission.granted !== cost) this.#release()
    return this.#admission.admit(cost)
  }

  #release(): void {
    if (this.#admission.release()) this.#channel.allowPayload(0)
  }

  #leave(cost: number): void {
    this.#admission.leave(cost)
    this.#wake()
    if (this.#transmitting && !this.#channel.closed) this.#pump()
  }

  /** The rest of a payload will not come. */
  #abandon(): void {
    const payload = this.#payload
    this.#payload = null
    if (payload === null) return
    this.#admission.leave(payload.request.length)
    this.#wake()
  }

  /** Has been admitted. */
  #serve(request: Request, payload: Buffer | null): void {
    const cost = this.#admission.enter()
    // A change of part of a sector must not read it while we write it.
    this.#moveWrites()
    void answer(this.#volume, request, payload, this.#negotiated, () => this.#goesOn(request))
      .then((parts) => this.#reply(parts))
      .finally(() => this.#leave(cost))
  }

  /** Whether to go on with a request that has begun. */
  #goesOn({ type }: Request): boolean {
    if (this.#expired) return false
    // Who left without goodbye hears no answer; but what was received to be written is written.
    if (this.#goodbye || type === Command.write) return true
    return !this.#channel.closed && !this.#channel.hungUp
  }
}
