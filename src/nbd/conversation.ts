/**
 * The client's side of the protocol as generators: each yields the buffer that is
 * to be filled next. Fixed newstyle, NBD_OPT_GO, structured replies where the
 * server has them, for without them nothing can go wrong after a read's first
 * byte, and servers read all of it before they send any. Pure.
 */
import { IoError } from "../base/io-error.ts"
import { Coverage } from "./coverage.ts"
import {
  CHUNK_DONE,
  Chunk,
  errnoName,
  Handshake,
  IHAVEOPT,
  Info,
  MAX_PAYLOAD,
  NBDMAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts"

export interface Export {
  /** Bytes. */
  readonly size: number
  /** `Transmission`. */
  readonly flags: number
  /** Bytes; offsets and lengths are to be multiples of it. */
  readonly minimumBlock: number
  /** Bytes of the longest request. */
  readonly maximumBlock: number
  readonly structured: boolean
}

/** A request that has no answer yet. */
export class Pending {
  /** It is a write, or changes the export otherwise: the server may do it as long as the connection lives. */
  readonly changes: boolean
  readonly offset: number
  /** Where the data of a read goes; empty for another request. */
  readonly into: Uint8Array
  readonly resolve: () => void
  readonly reject: (error: IoError) => void
  error: IoError | null = null
  readonly #received = new Coverage()

  constructor(
    offset: number,
    into: Uint8Array,
    resolve: () => void,
    reject: (error: IoError) => void,
    changes = false,
  ) {
    this.changes = changes
    this.offset = offset
    this.into = into
    this.resolve = resolve
    this.reject = reject
  }

  /** Where `size` bytes at `offset` of the export belong; `null`: not into this read, or some of them came before. */
  place(offset: number, size: number): Uint8Array | null {
    const at = offset - this.offset
    if (at < 0 || at + size > this.into.length || !this.#received.add(at, at + size)) return null
    return this.into.subarray(at, at + size)
  }

  /** All of a read has come, each byte once: a count of bytes would let a server leave out what it sends twice. */
  get complete(): boolean {
    return this.#received.covers(this.into.length)
  }

  settle(): void {
    if (this.error !== null) this.reject(this.error)
    else this.resolve()
  }
}

const NOTHING = Buffer.alloc(0)
const LONGEST_OPTION_REPLY = 64 << 10
const LONGEST_ERROR = 64 << 10

type Wanted<T> = Generator<Uint8Array, T, void>

/** The server does not keep to the protocol: asking it again would not help. */
export class ProtocolError extends IoError {
  constructor(what: string) {
    super("EIO", `the NBD server sent a malformed ${what}`)
  }
}

const malformed = (what: string): ProtocolError => new ProtocolError(what)
const answered = (code: number): IoError => {
  const name = errnoName(code)
  return new IoError(name, `the NBD server answered ${name}`)
}

function* take(length: number): Wanted<Buffer> {
  const bytes = Buffer.alloc(length)
  yield bytes
  return bytes
}

/** `send` is called with what goes to the server. Throws IoError. */
export function* negotiate(exportName: string, send: (bytes: Buffer) => void): Wanted<Export> {
  const hello = yield* take(18)
  const flags = hello.readUInt16BE(16)
  const newstyle = hello.readBigUInt64BE(0) === NBDMAGIC && hello.readBigUInt64BE(8) === IHAVEOPT
  if (!newstyle || (flags & Handshake.fixedNewstyle) === 0) {
    throw new IoError("EIO", "the peer is not a fixed-newstyle NBD server")
  }
  const reply = Buffer.alloc(4)
  reply.writeUInt32BE(flags & (Handshake.fixedNewstyle | Handshake.noZeroes))
  send(reply)
  send(option(Option.structuredReply, NOTHING))
  const structured = (yield* optionReply(Option.structuredReply)).type === OptionReply.ack

  const name = Buffer.from(exportName)
  const request = Buffer.alloc(4 + name.length + 4)
  request.writeUInt32BE(name.length, 0)
  name.copy(request, 4)
  request.writeUInt16BE(1, 4 + name.length)
  request.writeUInt16BE(Info.blockSize, 6 + name.length)
  send(option(Option.go, request))
  let described: { readonly size: number; readonly flags: number } | null = null
  let [minimumBlock, maximumBlock] = [1, MAX_PAYLOAD]
  for (;;) {
    const { type, data } = yield* optionReply(Option.go)
    if (type === OptionReply.info && data.length === 12 && data.readUInt16BE(0) === Info.export) {
      const size = data.readBigUInt64BE(2)
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new IoError("EOVERFLOW", `the export has ${size} bytes`)
      described = { size: Number(size), flags: data.readUInt16BE(10) }
    } else if (type === OptionReply.info && data.length === 14 && data.readUInt16BE(0) === Info.blockSize) {
      minimumBlock = data.readUInt32BE(2)
      maximumBlock = Math.min(MAX_PAYLOAD, data.readUInt32BE(10))
      if (minimumBlock === 0 || maximumBlock < minimumBlock) {
        throw new IoError("EIO", "the NBD server sent impossible block sizes")
      }
    } else if (type === OptionReply.ack && described !== null) {
      return { ...described, minimumBlock, maximumBlock, structured }
    } else if (type !== OptionReply.info) {
      throw new IoError("EIO", `the NBD server refused the export (reply 0x${type.toString(16)}): ${data.toString()}`)
    }
  }
}

function option(number: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(16 + data.length)
  bytes.writeBigUInt64BE(IHAVEOPT, 0)
  bytes.writeUInt32BE(number, 8)
  bytes.writeUInt32BE(data.length, 12)
  data.copy(bytes, 16)
  return bytes
}

function* optionReply(asked: number): Wanted<{ readonly type: number; readonly data: Buffer }> {
  const head = yield* take(20)
  const length = head.readUInt32BE(16)
  if (
    head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC ||
    head.readUInt32BE(8) !== asked ||
    length > LONGEST_OPTION_REPLY
  ) {
    throw malformed("option reply")
  }
  return { type: head.readUInt32BE(12), data: yield* take(length) }
}

/**
 * Settles what is pending, by cookie, as it is answered; `progress` is called for
 * each sign the server gives. Never returns; throws IoError when it cannot go on.
 */
export function* replies(structured: boolean, pending: Map<number, Pending>, progress: () => void): Wanted<never> {
  const head = Buffer.alloc(16)
  for (;;) {
    yield head
    const magic = head.readUInt32BE(0)
    const cookie = Number(head.readBigUInt64BE(8))
    const request = pending.get(cookie)
    if (request === undefined) throw malformed("reply")
    if (magic === SIMPLE_REPLY_MAGIC) {
      yield* simple(head.readUInt32BE(4), structured, request)
      pending.delete(cookie)
    } else if (structured && magic === STRUCTURED_REPLY_MAGIC) {
      const done = yield* chunk(head.readUInt16BE(4), head.readUInt16BE(6), request)
      if (done) pending.delete(cookie)
    } else throw malformed("reply")
    progress()
  }
}

function* simple(code: number, structured: boolean, request: Pending): Wanted<void> {
  if (code !== 0) request.error = answered(code)
  else if (request.into.length > 0) {
    const room = structured ? null : request.place(request.offset, request.into.length)
    if (room === null) throw malformed("reply")
    yield room
  }
  request.settle()
}

/** True: it was the last one. */
function* chunk(flags: number, type: number, request: Pending): Wanted<boolean> {
  const done = (flags & CHUNK_DONE) !== 0
  const length = (yield* take(4)).readUInt32BE(0)
  if (type === Chunk.offsetData && length > 8) {
    const room = request.place(Number((yield* take(8)).readBigUInt64BE(0)), length - 8)
    if (room === null) throw malformed("chunk")
    yield room
  } else if (type === Chunk.offsetHole && length === 12) {
    const hole = yield* take(12)
    const room = request.place(Number(hole.readBigUInt64BE(0)), hole.readUInt32BE(8))
    if (room === null) throw malformed("chunk")
    room.fill(0)
  } else if ((type & 0x8000) !== 0 && length >= 6 && length <= LONGEST_ERROR) {
    const code = errorIn(type, yield* take(length), request)
    if (code === 0) throw malformed("chunk")
    request.error ??= answered(code)
  } else if (type !== Chunk.none || length > 0 || !done) {
    throw malformed("chunk")
  }
  if (!done) return false
  if (request.error === null && !request.complete) throw malformed("reply")
  request.settle()
  return true
}

/** u32 error, u16 length, message; with an offset where the type says so. 0: it is malformed. */
function errorIn(type: number, payload: Buffer, { offset, into }: Pending): number {
  const rest = payload.length - 6 - payload.readUInt16BE(4)
  if (type === Chunk.error && rest !== 0) return 0
  if (type === Chunk.errorOffset) {
    if (rest !== 8) return 0
    const at = payload.readBigUInt64BE(payload.length - 8)
    const end = BigInt(offset + into.length)
    if (into.length > 0 && (at < BigInt(offset) || at >= end)) return 0
  }
  return rest < 0 ? 0 : payload.readUInt32BE(0)
}
