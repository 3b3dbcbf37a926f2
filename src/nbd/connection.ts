/**
 * One client: a loop takes requests in, they are served side by side, and each
 * is answered when it is done. What a request holds in memory is taken from the
 * shared budget before its payload is read, and given back when its reply has
 * left; so a client that asks and does not read waits, and holds little.
 */
import type { Socket } from "node:net"
import { asIoError, type IoError } from "../store/store.ts"
import type { Budget } from "../volume/budget.ts"
import type { Volume } from "../volume/volume.ts"
import { ALLOCATION_CONTEXT, type Negotiated, negotiate, type Wire } from "./handshake.ts"
import { Command, CommandFlag, MAX_PAYLOAD, REQUEST_BYTES, Transmission } from "./protocol.ts"
import { ByteReader } from "./reader.ts"
import { errorChunk, readChunk, simpleReply, statusChunk } from "./reply.ts"
import { checkRequest, costOf, parseRequest, payloadOf, type Request } from "./request.ts"

const REQUESTS = 128
/** Replies go out in pieces of so many bytes, so that a slow reader can be told from one that has stopped. */
const PIECE = 256 << 10
/** A payload may take so long for each MiB, beside the time a peer may be silent. */
const MS_PER_MIB = 1000

export interface ConnectionOptions {
  readonly volume: Volume
  readonly budget: Budget
  /** Bytes one connection may have in work now; a larger single request runs alone. */
  readonly share: () => number
  readonly stallMs: number
}

export class Connection {
  readonly #socket: Socket
  readonly #reader: ByteReader
  readonly #volume: Volume
  readonly #budget: Budget
  readonly #share: () => number
  readonly #stallMs: number
  readonly #closed = new AbortController()
  #negotiated: Negotiated = { structured: false, allocation: false }
  #draining = false
  #bytes = 0
  #requests = 0
  /** Bytes of replies that have not left, and when some last did. */
  #unsent = 0
  #moved = 0
  #progress: (() => void)[] = []

  constructor(socket: Socket, { volume, budget, share, stallMs }: ConnectionOptions) {
    this.#socket = socket
    this.#reader = new ByteReader(socket)
    this.#volume = volume
    this.#budget = budget
    this.#share = share
    this.#stallMs = stallMs
    socket.on("error", () => {})
    socket.on("close", () => {
      this.#closed.abort()
      this.#wake()
    })
  }

  /** Resolves when the connection has ended and nothing it asked for is in work. */
  async run(): Promise<void> {
    try {
      const wire: Wire = { read: (length) => this.#reader.read(length), write: (bytes) => this.#push(bytes) }
      const negotiated = await this.#within(this.#stallMs, () => negotiate(wire, this.#description()))
      if (negotiated !== null) {
        this.#negotiated = negotiated
        await this.#transmit()
      }
    } finally {
      await this.drain()
      while (this.#requests > 0) await this.#wait()
    }
  }

  /** Takes no more requests, waits until each has its answer, ends the connection. */
  async drain(): Promise<void> {
    this.#draining = true
    while (this.#requests > 0 && !this.#socket.destroyed) await this.#wait()
    if (this.#socket.destroyed) return
    // A client that does not take its answers is not waited for.
    await this.#within(this.#stallMs, async () => {
      this.#socket.destroySoon()
      while (!this.#closed.signal.aborted) await this.#wait()
    })
  }

  /** Whether the client has left replies lying for `ms`: a live one it would be safe to cut off. */
  stuck(ms: number): boolean {
    return this.#unsent > 0 && performance.now() - this.#moved >= ms
  }

  cut(): void {
    this.#socket.destroy()
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

  #push(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()))
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

  async #transmit(): Promise<void> {
    for (;;) {
      if (!(await this.#reader.ready()) || this.#draining) return
      // Idle for as long as it likes, but not in the middle of a request.
      const head = await this.#within(this.#stallMs, () => this.#reader.read(REQUEST_BYTES))
      if (head === null || this.#draining) return
      const request = parseRequest(head)
      if (request === null || request.type === Command.disc) return
      // Past this there is no telling where the next request starts without taking it all in.
      if (payloadOf(request) > MAX_PAYLOAD) return
      const cost = costOf(request) > MAX_PAYLOAD ? 0 : costOf(request)
      if (!(await this.#admit(cost))) return
      let payload: Buffer | null = null
      if (request.type === Command.write) {
        payload = Buffer.allocUnsafeSlow(request.length)
        const ms = this.#stallMs + (request.length / (1 << 20)) * MS_PER_MIB
        const into = payload
        if (!(await this.#within(ms, () => this.#reader.fill(into)))) return this.#budget.give(cost)
      }
      this.#bytes += cost
      this.#requests++
      void this.#serve(request, payload).finally(() => {
        this.#budget.give(cost)
        this.#bytes -= cost
        this.#requests--
        this.#wake()
      })
    }
  }

  /** Waits for room, this connection's and everybody's. False: the peer left. */
  async #admit(cost: number): Promise<boolean> {
    while (this.#requests >= REQUESTS || (this.#bytes > 0 && this.#bytes + cost > this.#share())) {
      if (this.#socket.destroyed) return false
      await this.#wait()
    }
    return await this.#budget.take(cost, this.#closed.signal)
  }

  /** Never rejects; resolves when the reply has left, or nobody is there to take it. */
  async #serve(request: Request, payload: Buffer | null): Promise<void> {
    const { structured, allocation } = this.#negotiated
    const { cookie, type, offset, length } = request
    try {
      const { size, readOnly, discards } = this.#volume
      checkRequest(request, { size, readOnly, trims: discards, structured, allocation })
      const data = await this.#perform(request, payload)
      if (type === Command.blockStatus) await this.#send(statusChunk(cookie, ALLOCATION_CONTEXT, length), null)
      else if (data !== null && structured) await this.#send(readChunk(cookie, offset, length), data)
      else await this.#send(simpleReply(cookie, null), data)
    } catch (error) {
      await this.#refuse(cookie, asIoError(error))
    }
  }

  #refuse(cookie: bigint, error: IoError): Promise<void> {
    return this.#send(this.#negotiated.structured ? errorChunk(cookie, error) : simpleReply(cookie, error), null)
  }

  async #perform({ type, flags, offset, length }: Request, payload: Buffer | null): Promise<Buffer | null> {
    const volume = this.#volume
    const fua = (flags & CommandFlag.fua) !== 0
    switch (type) {
      case Command.read:
        return volume.read(offset, length)
      case Command.write:
        await volume.write(offset, payload!, fua)
        return null
      case Command.flush:
        await volume.flush()
        return null
      case Command.trim:
        await volume.discard(offset, length)
        if (fua) await volume.flush()
        return null
      case Command.cache:
        await volume.cache(offset, length)
        return null
      case Command.writeZeroes:
        // Zeros are always written: there is no hole to leave out, so NO_HOLE asks for nothing more.
        await volume.zero(offset, length, fua)
        return null
      default:
        return null
    }
  }

  async #send(head: Buffer, data: Buffer | null): Promise<void> {
    if (this.#socket.destroyed) return
    if (this.#unsent === 0) this.#moved = performance.now()
    const length = data?.length ?? 0
    const sent: Promise<void>[] = []
    // Queued in one go: nothing of another reply comes in between.
    this.#socket.cork()
    sent.push(this.#sendPiece(head))
    for (let at = 0; at < length; at += PIECE) {
      sent.push(this.#sendPiece(data!.subarray(at, at + PIECE)))
      if (at === 0) this.#socket.uncork()
    }
    if (length === 0) this.#socket.uncork()
    await Promise.all(sent)
  }

  async #sendPiece(bytes: Uint8Array): Promise<void> {
    this.#unsent += bytes.length
    await this.#push(bytes)
    this.#unsent -= bytes.length
    this.#moved = performance.now()
  }
}
