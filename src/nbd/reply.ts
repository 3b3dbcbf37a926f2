/** Replies as they go on the wire, without the data of a read. Pure. */

import type { IoError } from "../store/store.ts"
import {
  CHUNK_DONE,
  Chunk,
  errnoNumber,
  OPTION_REPLY_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts"

export function optionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const reply = Buffer.alloc(20 + data.length)
  reply.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0)
  reply.writeUInt32BE(option, 8)
  reply.writeUInt32BE(type, 12)
  reply.writeUInt32BE(data.length, 16)
  reply.set(data, 20)
  return reply
}

export function simpleReply(cookie: bigint, error: IoError | null): Buffer {
  const reply = Buffer.alloc(16)
  reply.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0)
  reply.writeUInt32BE(error === null ? 0 : errnoNumber(error.code), 4)
  reply.writeBigUInt64BE(cookie, 8)
  return reply
}

/** The only chunk of its reply; `more` bytes of payload follow `payload`. */
function chunk(cookie: bigint, type: number, payload: Buffer, more = 0): Buffer {
  const head = Buffer.alloc(20 + payload.length)
  head.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0)
  head.writeUInt16BE(CHUNK_DONE, 4)
  head.writeUInt16BE(type, 6)
  head.writeBigUInt64BE(cookie, 8)
  head.writeUInt32BE(payload.length + more, 16)
  head.set(payload, 20)
  return head
}

/** Goes in front of `length` bytes read at `offset`. */
export function readChunk(cookie: bigint, offset: number, length: number): Buffer {
  if (length === 0) return chunk(cookie, Chunk.none, Buffer.alloc(0))
  const payload = Buffer.alloc(8)
  payload.writeBigUInt64BE(BigInt(offset), 0)
  return chunk(cookie, Chunk.offsetData, payload, length)
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
