/** An NBD server that answers each request as a test wants; for tests only. */
import { createServer, type Socket } from "node:net"

/** Numbers are written out here, as in RawPeer. */
export const big = (value: bigint | number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64BE(BigInt(value))
  return buffer.subarray(8 - bytes)
}

export interface Asked {
  readonly type: number
  readonly cookie: bigint
  readonly offset: number
  readonly length: number
  /** Of a write. */
  readonly payload: Buffer
  readonly socket: Socket
  /** A simple reply. */
  reply(error?: number, data?: Uint8Array): void
}

export interface FakeServerOptions {
  readonly path: string
  readonly structured?: boolean
  /** Transmission flags. */
  readonly flags?: number
  /** Called for each request, one connection's in their order. */
  readonly answer: (asked: Asked, connection: number) => void
}

export class FakeServer {
  size: number
  /** Connections so far. */
  connections = 0
  readonly #options: FakeServerOptions
  readonly #sockets = new Set<Socket>()
  // A connection that the client has left ends when a test says so.
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => {
    void this.#serve(socket, this.connections++).catch(() => {})
  })

  constructor(size: number, options: FakeServerOptions) {
    this.size = size
    this.#options = options
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.#options.path, resolve))
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #serve(socket: Socket, connection: number): Promise<void> {
    this.#sockets.add(socket)
    socket.on("error", () => {})
    let waiting: Buffer = Buffer.alloc(0)
    let wake = () => {}
    let over = false
    socket.on("data", (data: Buffer) => {
      waiting = Buffer.concat([waiting, data])
      wake()
    })
    socket.on("close", () => {
      over = true
      wake()
    })
    const take = async (length: number) => {
      while (waiting.length < length) {
        if (over) throw new Error("left")
        await new Promise<void>((resolve) => (wake = resolve))
      }
      const bytes = Buffer.from(waiting.subarray(0, length))
      waiting = waiting.subarray(length)
      return bytes
    }
    socket.write(Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), big(3, 2)]))
    await take(4)
    for (;;) {
      const option = await take(16)
      const number = option.readUInt32BE(8)
      await take(option.readUInt32BE(12))
      const reply = (type: number, data: Buffer) =>
        socket.write(Buffer.concat([big(0x3e889045565a9n, 8), big(number, 4), big(type, 4), big(data.length, 4), data]))
      if (number === 8) reply(this.#options.structured === true ? 1 : 0x80000001, Buffer.alloc(0))
      if (number !== 7) continue
      reply(3, Buffer.concat([big(0, 2), big(this.size, 8), big(this.#options.flags ?? 1, 2)]))
      reply(1, Buffer.alloc(0))
      break
    }
    for (;;) {
      const head = await take(28)
      const [type, cookie, offset] = [head.readUInt16BE(6), head.readBigUInt64BE(8), Number(head.readBigUInt64BE(16))]
      const length = head.readUInt32BE(24)
      const payload = type === 1 ? await take(length) : Buffer.alloc(0)
      const reply = (error = 0, data: Uint8Array = Buffer.alloc(0)) =>
        void socket.write(Buffer.concat([big(0x67446698, 4), big(error, 4), big(cookie, 8), data]))
      this.#options.answer({ type, cookie, offset, length, payload, socket, reply }, connection)
    }
  }
}
