/**
 * Varlink (https://varlink.org/Method-Call): JSON objects, each ended by one
 * NUL byte, in both directions of a stream. Framing and message shapes only;
 * sockets are server.ts's and client.ts's.
 */
import * as v from "valibot"
import { parseJson } from "../base/json.ts"

/** Room for an 8 MiB key file, sealed and in base64, and the JSON around it. */
const MESSAGE_LIMIT = 12 * 1024 * 1024

const parameters = v.record(v.string(), v.unknown())

const callSchema = v.object({
  method: v.pipe(v.string(), v.maxLength(256)),
  parameters: v.optional(parameters, {}),
  oneway: v.optional(v.boolean(), false),
  more: v.optional(v.boolean(), false),
  upgrade: v.optional(v.boolean(), false),
})

const replySchema = v.object({
  parameters: v.optional(parameters, {}),
  continues: v.optional(v.boolean(), false),
  error: v.optional(v.pipe(v.string(), v.maxLength(256))),
})

export type Parameters = Record<string, unknown>
export type Call = v.InferOutput<typeof callSchema>
export type Reply = v.InferOutput<typeof replySchema>

/** What a peer sent is not varlink: the connection has lost its framing and ends. */
export class FramingError extends Error {
  override readonly name = "FramingError"
}

/** An error reply, on its way out or received. */
export class VarlinkError extends Error {
  override readonly name = "VarlinkError"
  readonly error: string
  readonly parameters: Parameters

  constructor(error: string, parameters: Parameters = {}) {
    super(`${error} ${JSON.stringify(parameters)}`)
    this.error = error
    this.parameters = parameters
  }
}

export function encodeMessage(message: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(message)}\0`, "utf8")
}

function parse(frame: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true }).decode(frame))
  } catch {
    throw new FramingError("a message is not JSON in UTF-8")
  }
}

export function decodeCall(frame: Uint8Array): Call {
  const result = v.safeParse(callSchema, parse(frame))
  if (!result.success) throw new FramingError("a message is not a varlink call")
  return result.output
}

export function decodeReply(frame: Uint8Array): Reply {
  const result = v.safeParse(replySchema, parse(frame))
  if (!result.success) throw new FramingError("a message is not a varlink reply")
  return result.output
}

/**
 * Cuts a byte stream into frames. Holds at most `limit` bytes of an unfinished
 * one; throws FramingError when a frame is longer or empty.
 */
export class FrameReader {
  readonly #limit: number
  #parts: Uint8Array[] = []
  #held = 0

  constructor(limit = MESSAGE_LIMIT) {
    this.#limit = limit
  }

  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let rest = chunk
    for (;;) {
      const end = rest.indexOf(0)
      const piece = end < 0 ? rest : rest.subarray(0, end)
      if (this.#held + piece.length > this.#limit) {
        throw new FramingError(`a message is longer than ${this.#limit} bytes`)
      }
      if (end < 0) {
        // The socket's buffer is reused after this call returns to it.
        if (piece.length > 0) this.#parts.push(Uint8Array.from(piece))
        this.#held += piece.length
        return
      }
      if (this.#held + piece.length === 0) throw new FramingError("a message is empty")
      const frame = this.#parts.length === 0 ? piece : Buffer.concat([...this.#parts, piece])
      this.#parts = []
      this.#held = 0
      rest = rest.subarray(end + 1)
      yield frame
    }
  }

  /** True in the middle of a frame. */
  get partial(): boolean {
    return this.#held > 0
  }
}
