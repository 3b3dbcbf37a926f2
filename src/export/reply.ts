/** Replies as they go on the wire, without the data of a read. Pure. */

import type { IoError } from "../base/io-error.ts"
import {
  CHUNK_DONE,
  Chunk,
  errnoNumber,
  OPTION_REPLY_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "../nbd/protocol.ts"

export function optionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const reply = Buffer.alloc(20 + data.length)
  reply.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0)
  reply.writeUInt32BE(option, 8)
  reply.writeUInt32BE(type, 12)
  reply.writeUInt32BE(data.length, 16)
  reply.set(data, 20)
  return reply
}

export const SIMPLE_BYTES = 16
/** Of the header in front of read data. */
export const READ_CHUNK_BYTES = 28

/** The whole reply; `error` 0: the request succeeded, and a read's data follows. */
export function putSimpleReply(bytes: DataView, at: number, cookie: bigint, error: number): void {
  bytes.setUint32(at, SIMPLE_REPLY_MAGIC)
  bytes.setUint32(at + 4, error)
  bytes.setBigUint64(at + 8, cookie)
}

function putChunk(bytes: DataView, at: number, cookie: bigint, type: number, length: number, done: boolean): void {
  bytes.setUint32(at, STRUCTURED_REPLY_MAGIC)
  bytes.setUint16(at + 4, done ? CHUNK_DONE : 0)
  bytes.setUint16(at + 6, type)
  bytes.setBigUint64(at + 8, cookie)
  bytes.setUint32(at + 16, length)
}

/** Goes in front of `length` bytes read at `offset`; `done`: nothing more follows for the request. */
function putReadChunk(
  bytes: DataView,
  at: number,
  cookie: bigint,
  offset: number,
  length: number,
  done: boolean,
): void {
  putChunk(bytes, at, cookie, Chunk.offsetData, 8 + length, done)
  bytes.setUint32(at + 20, Math.floor(offset / 2 ** 32))
  bytes.setUint32(at + 24, offset % 2 ** 32)
}

/** Ends at `at`, in front of the data of a read's piece. Returns its bytes. */
export function putReadHead(
  bytes: DataView,
  at: number,
  request: { readonly cookie: bigint; readonly offset: number; readonly length: number },
  offset: number,
  length: number,
  structured: boolean,
): number {
  const done = offset + length === request.offset + request.length
  if (structured) putReadChunk(bytes, at - READ_CHUNK_BYTES, request.cookie, offset, length, done)
  else putSimpleReply(bytes, at - SIMPLE_BYTES, request.cookie, 0)
  return structured ? READ_CHUNK_BYTES : SIMPLE_BYTES
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)

export function simpleReply(cookie: bigint, error: IoError | null): Buffer {
  const reply = Buffer.alloc(SIMPLE_BYTES)
  putSimpleReply(viewOf(reply), 0, cookie, error === null ? 0 : errnoNumber(error.code))
  return reply
}

/** The only or last chunk of its reply. */
function chunk(cookie: bigint, type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(20 + payload.length)
  putChunk(viewOf(head), 0, cookie, type, payload.length, true)
  head.set(payload, 20)
  return head
}

/** Goes in front of the last `length` bytes of a read, which lie at `offset`. */
export function readChunk(cookie: bigint, offset: number, length: number): Buffer {
  if (length === 0) return chunk(cookie, Chunk.none, Buffer.alloc(0))
  const head = Buffer.alloc(READ_CHUNK_BYTES)
  putReadChunk(viewOf(head), 0, cookie, offset, length, true)
  return head
}

export function errorChunk(cookie: bigint, error: IoError): Buffer {
  const message = Buffer.from(error.message).subarray(0, 1024)
  const payload = Buffer.alloc(6 + message.length)
  payload.writeUInt32BE(errnoNumber(error.code), 0)
  payload.writeUInt16BE(message.length, 4)
  payload.set(message, 6)
  return chunk(cookie, Chunk.error, payload)
}

/** One extent of data: ciphertext does not tell what is empty. */
export function statusChunk(cookie: bigint, context: number, length: number): Buffer {
  const payload = Buffer.alloc(12)
  payload.writeUInt32BE(context, 0)
  payload.writeUInt32BE(length, 4)
  return chunk(cookie, Chunk.blockStatus, payload)
}
