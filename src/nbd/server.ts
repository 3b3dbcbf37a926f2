/** Serves one volume to any number of NBD clients; one coroutine per connection reads, requests run side by side. */
import { createServer, type Server, type Socket } from "node:net"
import { asIoError, IoError } from "../store/store.ts"
import type { Volume } from "../volume/volume.ts"
import * as nbd from "./protocol.ts"
import { ByteReader } from "./reader.ts"

export interface NbdServerOptions {
  /** Path of the Unix socket; must not exist. */
  readonly path: string
  readonly volume: Volume
  /** A peer that has not chosen the export by then is cut off; so is one that stops within a payload. */
  readonly stallMs?: number
}

export interface NbdServer {
  readonly connections: number
  /** Stops listening, answers what has been asked, closes the connections. */
  close(): Promise<void>
}

/** Bytes of payload in work for one connection; a larger single request runs alone. */
const WINDOW = 4 << 20
const REQUESTS = 128

export async function serveNbd({ path, volume, stallMs = 10_000 }: NbdServerOptions): Promise<NbdServer> {
  const connections = new Set<Connection>()
  const server: Server = createServer((socket) => {
    const connection = new Connection(socket, volume, stallMs)
    connections.add(connection)
    void connection.run().finally(() => connections.delete(connection))
  })
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve))
  return {
    get connections() {
      return connections.size
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const connection of connections) void connection.drain()
      await closed
    },
  }
}

class Connection {
  readonly #socket: Socket
  readonly #reader: ByteReader
  readonly #volume: Volume
  readonly #stallMs: number
  #noZeroes = false
  #bytes = 0
  #requests = 0
  #progress: (() => void) | null = null

  constructor(socket: Socket, volume: Volume, stallMs: number) {
    this.#socket = socket
    this.#reader = new ByteReader(socket)
    this.#volume = volume
    this.#stallMs = stallMs
    socket.on("error", () => {})
    socket.on("close", () => this.#progress?.())
    socket.on("drain", () => this.#progress?.())
  }

  async run(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), this.#stallMs)
    try {
      const ready = await this.#negotiate()
      clearTimeout(timer)
      if (ready) await this.#transmit()
      await this.drain()
    } finally {
      clearTimeout(timer)
      this.#socket.destroySoon()
    }
  }

  /** Waits until every request has its answer, then ends the connection. */
  async drain(): Promise<void> {
    while (this.#requests > 0 && !this.#socket.destroyed) await this.#wait()
    this.#socket.destroySoon()
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#progress
      this.#progress = () => {
        this.#progress = null
        before?.()
        resolve()
      }
    })
  }

  #reply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): void {
    const head = Buffer.alloc(20)
    head.writeBigUInt64BE(nbd.OPTION_REPLY_MAGIC, 0)
    head.writeUInt32BE(option, 8)
    head.writeUInt32BE(type, 12)
    head.writeUInt32BE(data.length, 16)
    this.#socket.write(Buffer.concat([head, data]))
  }

  get #flags(): number {
    const { readOnly, discards } = this.#volume
    const { hasFlags, flush, fua, multiConn, writeZeroes, trim } = nbd.Transmission
    const writing = fua | writeZeroes | (discards ? trim : 0)
    return hasFlags | flush | multiConn | (readOnly ? nbd.Transmission.readOnly : writing)
  }

  /** True when transmission begins. */
  async #negotiate(): Promise<boolean> {
    const hello = Buffer.alloc(18)
    hello.writeBigUInt64BE(nbd.NBDMAGIC, 0)
    hello.writeBigUInt64BE(nbd.IHAVEOPT, 8)
    hello.writeUInt16BE(nbd.Handshake.fixedNewstyle | nbd.Handshake.noZeroes, 16)
    this.#socket.write(hello)
    const answer = await this.#reader.read(4)
    if (answer === null) return false
    const flags = answer.readUInt32BE(0)
    if ((flags & ~(nbd.Handshake.fixedNewstyle | nbd.Handshake.noZeroes)) !== 0) return false
    this.#noZeroes = (flags & nbd.Handshake.noZeroes) !== 0
    for (;;) {
      const head = await this.#reader.read(16)
      if (head === null || head.readBigUInt64BE(0) !== nbd.IHAVEOPT) return false
      const option = head.readUInt32BE(8)
      const length = head.readUInt32BE(12)
      // Reading an over-long option to its end would be the peer's to decide.
      if (length > nbd.MAX_OPTION) {
        this.#reply(option, nbd.OptionReply.tooBig)
        return false
      }
      const data = await this.#reader.read(length)
      if (data === null) return false
      if (option === nbd.Option.exportName) {
        if (length > 0) return false
        const info = Buffer.alloc(this.#noZeroes ? 10 : 134)
        info.writeBigUInt64BE(BigInt(this.#volume.size), 0)
        info.writeUInt16BE(this.#flags, 8)
        this.#socket.write(info)
        return true
      }
      if (option === nbd.Option.abort) {
        this.#reply(option, nbd.OptionReply.ack)
        return false
      }
      if (option === nbd.Option.list) {
        if (length > 0) this.#reply(option, nbd.OptionReply.invalid)
        else {
          this.#reply(option, nbd.OptionReply.server, Buffer.alloc(4))
          this.#reply(option, nbd.OptionReply.ack)
        }
      } else if (option === nbd.Option.info || option === nbd.Option.go) {
        if (this.#describe(option, data) && option === nbd.Option.go) return true
      } else this.#reply(option, nbd.OptionReply.unsupported)
    }
  }

  /** Answers INFO and GO: u32 name length, name, u16 count, count times u16. */
  #describe(option: number, data: Buffer): boolean {
    const name = data.length >= 6 ? data.readUInt32BE(0) : -1
    if (name < 0 || name > data.length - 6 || data.length !== 6 + name + 2 * data.readUInt16BE(4 + name)) {
      this.#reply(option, nbd.OptionReply.invalid)
      return false
    }
    if (name > 0) {
      this.#reply(option, nbd.OptionReply.unknown)
      return false
    }
    const description = Buffer.alloc(12)
    description.writeUInt16BE(nbd.Info.export, 0)
    description.writeBigUInt64BE(BigInt(this.#volume.size), 2)
    description.writeUInt16BE(this.#flags, 10)
    this.#reply(option, nbd.OptionReply.info, description)
    const blocks = Buffer.alloc(14)
    blocks.writeUInt16BE(nbd.Info.blockSize, 0)
    blocks.writeUInt32BE(1, 2)
    blocks.writeUInt32BE(Math.max(4096, this.#volume.sectorSize), 6)
    blocks.writeUInt32BE(nbd.MAX_PAYLOAD, 10)
    this.#reply(option, nbd.OptionReply.info, blocks)
    this.#reply(option, nbd.OptionReply.ack)
    return true
  }

  async #transmit(): Promise<void> {
    for (;;) {
      const head = await this.#reader.read(28)
      if (head === null || head.readUInt32BE(0) !== nbd.REQUEST_MAGIC) return
      const flags = head.readUInt16BE(4)
      const type = head.readUInt16BE(6)
      const offset = head.readUInt32BE(16) * 2 ** 32 + head.readUInt32BE(20)
      const length = head.readUInt32BE(24)
      if (type === nbd.Command.disc) return
      const cookie = head.subarray(8, 16)
      const carries = type === nbd.Command.write
      // Past this there is no telling where the next request starts without taking it all in.
      if (carries && length > nbd.MAX_PAYLOAD) return
      const cost = carries || type === nbd.Command.read ? Math.min(length, nbd.MAX_PAYLOAD) : 0
      while (
        !this.#socket.destroyed &&
        (this.#requests >= REQUESTS ||
          this.#socket.writableNeedDrain ||
          (this.#bytes > 0 && this.#bytes + cost > WINDOW))
      ) {
        await this.#wait()
      }
      if (this.#socket.destroyed) return
      let payload: Buffer | null = null
      if (carries) {
        const timer = setTimeout(() => this.#socket.destroy(), this.#stallMs)
        payload = await this.#reader.read(length)
        clearTimeout(timer)
        if (payload === null) return
      }
      this.#bytes += cost
      this.#requests++
      void this.#serve(type, flags, offset, length, payload)
        .then(
          (data) => this.#answer(cookie, 0, data),
          (error: unknown) => this.#answer(cookie, nbd.errnoNumber(asIoError(error).code), null),
        )
        .finally(() => {
          this.#bytes -= cost
          this.#requests--
          this.#progress?.()
        })
    }
  }

  async #serve(
    type: number,
    flags: number,
    offset: number,
    length: number,
    payload: Buffer | null,
  ): Promise<Buffer | null> {
    const { fua, noHole } = nbd.CommandFlag
    const allowed = type === nbd.Command.writeZeroes ? fua | noHole : fua
    if ((flags & ~allowed) !== 0) throw new IoError("EINVAL", "unknown command flags")
    const durable = (flags & fua) !== 0
    switch (type) {
      case nbd.Command.read:
        if (length > nbd.MAX_PAYLOAD) throw new IoError("EOVERFLOW", "the read is longer than the largest payload")
        return this.#volume.read(offset, length)
      case nbd.Command.write:
        if (!this.#volume.readOnly && offset + length > this.#volume.size) throw new IoError("ENOSPC", "past the end")
        await this.#volume.write(offset, payload!, durable)
        return null
      case nbd.Command.flush:
        await this.#volume.flush()
        return null
      case nbd.Command.trim:
        await this.#volume.discard(offset, length)
        if (durable) await this.#volume.flush()
        return null
      case nbd.Command.writeZeroes:
        if (!this.#volume.readOnly && offset + length > this.#volume.size) throw new IoError("ENOSPC", "past the end")
        await this.#volume.zero(offset, length, durable)
        return null
      default:
        throw new IoError("EINVAL", `no command has the number ${type}`)
    }
  }

  #answer(cookie: Uint8Array, code: number, data: Buffer | null): void {
    if (this.#socket.destroyed) return
    const head = Buffer.alloc(16)
    head.writeUInt32BE(nbd.SIMPLE_REPLY_MAGIC, 0)
    head.writeUInt32BE(code, 4)
    head.set(cookie, 8)
    this.#socket.cork()
    this.#socket.write(head)
    if (data !== null && data.length > 0) this.#socket.write(data)
    this.#socket.uncork()
  }
}
