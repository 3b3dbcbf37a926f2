/**
 * An NBD client: any number of requests in flight. A connection that is given up
 * takes no more requests, but ends only when the server has ended it: as long as it
 * has not, it may still do what it was asked to. Answers that come meanwhile count.
 */
import { createConnection, type Socket } from "node:net"
import { deferred } from "../base/deferred.ts"
import { IoError } from "../base/io-error.ts"
import { type Export, negotiate, Pending, ProtocolError, replies } from "./conversation.ts"
import { Command, CommandFlag, REQUEST_BYTES, REQUEST_MAGIC, Transmission } from "./protocol.ts"
import { Receiver } from "./receiver.ts"
import type { NbdTarget } from "./uri.ts"

export interface NbdClientOptions {
  /** A server that leaves requests unanswered so long is given up; default: never. */
  readonly timeoutMs?: number
}

interface Sent {
  readonly flags: number
  readonly offset: number
  readonly length: number
  /** Of a write. */
  readonly payload: Uint8Array
  /** Of a read. */
  readonly into: Uint8Array
}

const NOTHING = new Uint8Array(0)
/** Then a silent network is asked whether the server's machine is still there. */
const KEEP_ALIVE_MS = 60_000
/** A server is waited for after a goodbye. */
const GOODBYE_MS = 5000

export class NbdClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  #next = 1
  #export!: Export
  /** Why it was given up. */
  #gone: IoError | null = null
  #over = false
  #unsure = false
  readonly #left = deferred<void>()
  readonly #negotiated = deferred<void>()
  readonly #ended = deferred<void>()
  readonly #timeoutMs: number | null
  #watchdog: NodeJS.Timeout | null = null

  private constructor({ at, exportName }: NbdTarget, timeoutMs: number | null) {
    this.#timeoutMs = timeoutMs
    const receiver = new Receiver(this.#converse(exportName), (error) => this.#violate(error as IoError))
    this.#socket = createConnection({ ...at, onread: receiver.onread })
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS)
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#negotiated.reject(error)
      this.#unsure = error.code !== "ECONNRESET" && error.code !== "EPIPE"
    })
    this.#socket.on("close", () => this.#end(new IoError("EIO", "the NBD server closed the connection")))
  }

  /**
   * To a Unix socket's path, or where a URI points. Rejects with Node's error
   * when nobody listens, IoError when the peer speaks otherwise.
   */
  static async connect(target: string | NbdTarget, { timeoutMs }: NbdClientOptions = {}): Promise<NbdClient> {
    const client = new NbdClient(
      typeof target === "string" ? { at: { path: target }, exportName: "" } : target,
      timeoutMs ?? null,
    )
    const late = timeoutMs === undefined ? null : setTimeout(() => client.#end(timedOut()), timeoutMs)
    try {
      await client.#negotiated.promise
      return client
    } finally {
      if (late !== null) clearTimeout(late)
    }
  }

  /** Bytes. */
  get size(): number {
    return this.#export.size
  }

  get readOnly(): boolean {
    return (this.#export.flags & Transmission.readOnly) !== 0
  }

  /** False: the server keeps nothing back that a flush would write. */
  get flushes(): boolean {
    return (this.#export.flags & Transmission.flush) !== 0
  }

  /** What a flush covers, and what is read, is the same on every connection. */
  get sharesCache(): boolean {
    return (this.#export.flags & Transmission.multiConn) !== 0
  }

  get trims(): boolean {
    return (this.#export.flags & Transmission.trim) !== 0
  }

  /** Bytes; offsets and lengths are to be multiples of it. */
  get minimumBlock(): number {
    return this.#export.minimumBlock
  }

  /** Whether the connection was given up or has ended: what a request then rejects with is not the server's word. */
  get gone(): boolean {
    return this.#gone !== null
  }

  /** Resolves when it was given up, for whatever reason. */
  get left(): Promise<void> {
    return this.#left.promise
  }

  /** Why; `null`: it was not. */
  get reason(): IoError | null {
    return this.#gone
  }

  /**
   * After the end: changes were not answered, and it is not known that the server's side has ended,
   * because the network failed. It may still make them.
   */
  get unsure(): boolean {
    return this.#unsure
  }

  /** Whether it ended because the server does not keep to the protocol. */
  get violated(): boolean {
    return this.#gone instanceof ProtocolError
  }

  /** Resolves when the connection has ended on both sides, as far as can be known. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  *#converse(exportName: string): Generator<Uint8Array, never, void> {
    this.#export = yield* negotiate(exportName, (bytes) => this.#socket.write(bytes))
    this.#negotiated.resolve()
    return yield* replies(this.#export.structured, this.#pending, () => this.#watch())
  }

  /** Nothing is asked any more. */
  #leave(reason: IoError): void {
    if (this.#gone !== null) return
    this.#gone = reason
    this.#negotiated.reject(reason)
    if (this.#watchdog !== null) clearTimeout(this.#watchdog)
    this.#watchdog = null
    this.#left.resolve()
  }

  /**
   * Gives the connection up: says goodbye, and waits for the server to end it if it may still do what
   * it was asked to. Requests without an answer reject when it has ended, unless they get one first.
   */
  leave(reason: IoError): void {
    this.#leave(reason)
    if (this.#over) return
    const changing = [...this.#pending.values()].some(({ changes }) => changes)
    if (changing) this.#socket.end(requestHead(Command.disc, 0, 0, 0, 0))
    else this.#end(reason)
  }

  /** It does not keep to the protocol: no answer can be told apart any more. */
  #violate(reason: IoError): void {
    const changing = [...this.#pending.values()].some(({ changes }) => changes)
    this.#leave(reason)
    this.#reject(reason)
    if (changing) this.#socket.end()
    else this.#end(reason)
  }

  #reject(reason: IoError): void {
    for (const pending of this.#pending.values()) pending.reject(reason)
    this.#pending.clear()
  }

  /** What is under way rejects; the first reason stays. */
  #end(reason: IoError): void {
    if (this.#over) return
    this.#over = true
    this.#unsure &&= [...this.#pending.values()].some(({ changes }) => changes)
    this.#leave(reason)
    this.#socket.destroy()
    this.#reject(this.#gone ?? reason)
    this.#ended.resolve()
  }

  /** Restarts the server's timer; called when it sent something, and when there is something to wait for. */
  #watch(): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog)
    this.#watchdog = null
    if (this.#timeoutMs === null || this.#pending.size === 0 || this.#gone !== null) return
    this.#watchdog = setTimeout(() => this.leave(timedOut()), this.#timeoutMs)
  }

  #send(
    type: number,
    { flags = 0, offset = 0, length = 0, payload = NOTHING, into = NOTHING }: Partial<Sent> = {},
  ): Promise<void> {
    if (this.#gone !== null) return Promise.reject(this.#gone)
    const cookie = this.#next++
    const head = requestHead(type, flags, cookie, offset, length)
    const changes = type === Command.write || type === Command.trim || type === Command.writeZeroes
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, new Pending(offset, into, resolve, reject, changes))
      if (this.#watchdog === null) this.#watch()
      this.#socket.cork()
      this.#socket.write(head)
      if (payload.length > 0) this.#socket.write(payload)
      this.#socket.uncork()
    })
  }

  /** Offsets and lengths of requests for `length` bytes at `offset`. */
  *#parts(offset: number, length: number) {
    const { maximumBlock } = this.#export
    for (let done = 0; done < length; done += maximumBlock) {
      yield { offset: offset + done, from: done, length: Math.min(length - done, maximumBlock) }
    }
  }

  /** `into` is the client's until this has settled; after a rejection its content is undefined. */
  async readInto(offset: number, into: Uint8Array): Promise<void> {
    const parts: Promise<void>[] = []
    for (const { from, length, ...at } of this.#parts(offset, into.length)) {
      parts.push(this.#send(Command.read, { ...at, length, into: into.subarray(from, from + length) }))
    }
    await all(parts)
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length)
    await this.readInto(offset, bytes)
    return bytes
  }

  /** `bytes` must not change until this has resolved. */
  async write(offset: number, bytes: Uint8Array, { fua = false } = {}): Promise<void> {
    const flags = fua ? CommandFlag.fua : 0
    const parts: Promise<void>[] = []
    for (const { from, length, ...at } of this.#parts(offset, bytes.length)) {
      parts.push(this.#send(Command.write, { ...at, flags, length, payload: bytes.subarray(from, from + length) }))
    }
    await all(parts)
  }

  async flush(): Promise<void> {
    await this.#send(Command.flush)
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#send(Command.trim, { offset, length })
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#send(Command.writeZeroes, { offset, length })
  }

  /** Whether the kernel does not have all of what was sent: it waits here for the server to read on. */
  get congested(): boolean {
    const { writableLength, writableEnded, destroyed } = this.#socket
    return writableLength > 0 && !writableEnded && !destroyed
  }

  /** Resolves when the kernel has what was sent so far, or the connection has ended. */
  async handedOver(): Promise<void> {
    if (this.congested) await new Promise<void>((resolve) => this.#socket.write(NOTHING, () => resolve()))
  }

  /** Ends our side at once; requests in flight reject, and what the kernel does not have yet is not sent. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Where the server is: an address and port; of a Unix socket nothing. */
  get address(): string {
    const { remoteAddress, remotePort } = this.#socket
    return remoteAddress === undefined ? "" : `${remoteAddress.replace(/^::ffff:/, "")} ${remotePort}`
  }

  /** Says goodbye; requests in flight are answered first when the server keeps to the protocol. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#gone !== null) return
    this.#leave(new IoError("ESHUTDOWN", "the NBD connection is closed"))
    this.#socket.end(requestHead(Command.disc, 0, 0, 0, 0))
    const late = setTimeout(() => this.#socket.destroy(), GOODBYE_MS)
    await this.#ended.promise
    clearTimeout(late)
  }
}

function requestHead(type: number, flags: number, cookie: number, offset: number, length: number): Buffer {
  const head = Buffer.alloc(REQUEST_BYTES)
  head.writeUInt32BE(REQUEST_MAGIC, 0)
  head.writeUInt16BE(flags, 4)
  head.writeUInt16BE(type, 6)
  head.writeBigUInt64BE(BigInt(cookie), 8)
  head.writeBigUInt64BE(BigInt(offset), 16)
  head.writeUInt32BE(length, 24)
  return head
}

/** Rejects when all have settled: what was given to them is nobody else's before. */
async function all(parts: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(parts)).find((result) => result.status === "rejected")
  if (failed !== undefined) throw failed.reason
}

function timedOut(): IoError {
  return new IoError("EIO", "the NBD server does not answer")
}
