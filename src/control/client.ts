/** The asking side of varlink, over a Unix socket or any pair of streams. */
import { connect, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import {
  decodeReply,
  encodeMessage,
  FrameReader,
  FramingError,
  type Parameters,
  type Reply,
  VarlinkError,
} from "./varlink.ts"

/**
 * Rejects with the socket's error (ENOENT, ECONNREFUSED: nobody serves it), or with what `check`,
 * which sees the peer before a byte is sent, throws.
 */
export async function connectSocket(
  path: string,
  check?: (socket: Socket) => void,
  { halfOpen = false } = {},
): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: halfOpen })
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject)
    socket.once("connect", () => {
      socket.off("error", reject)
      resolve()
    })
  })
  try {
    check?.(socket)
  } catch (error) {
    socket.destroy()
    throw error
  }
  return socket
}

export class ControlClient implements Disposable {
  readonly #stream: Duplex
  readonly #replies: AsyncGenerator<Reply, void>

  /** Takes the stream over. Calls are made one after the other. */
  constructor(stream: Duplex) {
    this.#stream = stream
    // Whoever waits for an answer is told by `replies`; a pair of pipes closed with one half open says AbortError to nobody.
    stream.on("error", () => {})
    this.#replies = replies(stream)
  }

  /** As connectSocket. */
  static async connect(path: string, check?: (socket: Socket) => void): Promise<ControlClient> {
    return new ControlClient(await connectSocket(path, check))
  }

  async call(method: string, parameters: Parameters = {}): Promise<Parameters> {
    this.#stream.write(encodeMessage({ method, parameters }))
    return (await this.#reply()).parameters
  }

  /** A call with `more`: one value per reply. */
  async *stream(method: string, parameters: Parameters = {}): AsyncGenerator<Parameters, void> {
    this.#stream.write(encodeMessage({ method, parameters, more: true }))
    for (;;) {
      const reply = await this.#reply()
      yield reply.parameters
      if (!reply.continues) return
    }
  }

  async #reply(): Promise<Reply> {
    const { value, done } = await this.#replies.next()
    if (done === true || value === undefined) throw new FramingError("the connection ended before the answer")
    if (value.error !== undefined) throw new VarlinkError(value.error, value.parameters)
    return value
  }

  close(): void {
    this.#stream.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Bytes. The longest answers are a quote with its certificates and a status with paths; the other end may be hostile. */
const REPLY_LIMIT = 256 << 10

const GONE = ["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"]

async function* replies(stream: Duplex): AsyncGenerator<Reply, void> {
  const reader = new FrameReader(REPLY_LIMIT)
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (const frame of reader.push(chunk)) yield decodeReply(frame)
    }
  } catch (error) {
    // The other end's death between call and answer; ssh's, when it goes before the call is written.
    if (!GONE.includes((error as NodeJS.ErrnoException).code ?? "")) throw error
  }
}
