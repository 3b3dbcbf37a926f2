/** An NBD client: fixed newstyle, NBD_OPT_GO, simple replies, any number of requests in flight. */
import { createConnection, type Socket } from "node:net"
import { IoError } from "../store/store.ts"
import {
  Command,
  CommandFlag,
  errnoName,
  Handshake,
  IHAVEOPT,
  Info,
  MAX_PAYLOAD,
  NBDMAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  Transmission,
} from "./protocol.ts"
import { ByteReader } from "./reader.ts"
import type { NbdTarget } from "./uri.ts"

export interface NbdClientOptions {
  /** A server that leaves requests unanswered so long counts as gone; default: never. */
  readonly timeoutMs?: number
}

interface Pending {
  readonly length: number
  readonly resolve: (bytes: Buffer) => void
  readonly reject: (error: Error) => void
}

export class NbdClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #reader: ByteReader
  readonly #pending = new Map<number, Pending>()
  #next = 1
  #size = 0
  #flags = 0
  #minimumBlock = 1
  #maximumBlock = MAX_PAYLOAD
  #gone: IoError | null = null
  #done: Promise<void> = Promise.resolve()
  readonly #timeoutMs: number | null
  #watchdog: NodeJS.Timeout | null = null

  private constructor(socket: Socket, timeoutMs: number | null) {
    this.#socket = socket
    this.#reader = new ByteReader(socket)
    this.#timeoutMs = timeoutMs
  }

  /**
   * To a Unix socket's path, or where a URI points. Rejects with Node's error
   * when nobody listens, IoError when the peer speaks otherwise.
   */
  static async connect(target: string | NbdTarget, { timeoutMs }: NbdClientOptions = {}): Promise<NbdClient> {
    const { at, exportName } = typeof target === "string" ? { at: { path: target }, exportName: "" } : target
    const socket = createConnection(at)
    const late = timeoutMs === undefined ? null : setTimeout(() => socket.destroy(timedOut()), timeoutMs)
    try {
      await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject))
      socket.on("error", () => {})
      socket.setNoDelay(true)
      const client = new NbdClient(socket, timeoutMs ?? null)
      await client.#negotiate(exportName)
      client.#done = client.#receive()
      return client
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      if (late !== null) clearTimeout(late)
    }
  }

  /** Bytes. */
  get size(): number {
    return this.#size
  }

  get readOnly(): boolean {
    return (this.#flags & Transmission.readOnly) !== 0
  }

  /** False: the server keeps nothing back that a flush would write. */
  get flushes(): boolean {
    return (this.#flags & Transmission.flush) !== 0
  }

  get trims(): boolean {
    return (this.#flags & Transmission.trim) !== 0
  }

  /** Bytes; offsets and lengths are to be multiples of it. */
  get minimumBlock(): number {
    return this.#minimumBlock
  }

  /** Whether the connection has ended: what a request then rejects with is not the server's word. */
  get gone(): boolean {
    return this.#gone !== null
  }

  /** Resolves when the connection has ended, for whatever reason. */
  get ended(): Promise<void> {
    return this.#done
  }

  async #take(length: number): Promise<Buffer> {
    const bytes = await this.#reader.read(length)
    if (bytes === null) throw new IoError("EIO", "the NBD server closed the connection")
    return bytes
  }

  async #negotiate(exportName: string): Promise<void> {
    const hello = await this.#take(18)
    const flags = hello.readUInt16BE(16)
    const newstyle = hello.readBigUInt64BE(0) === NBDMAGIC && hello.readBigUInt64BE(8) === IHAVEOPT
    if (!newstyle || (flags & Handshake.fixedNewstyle) === 0) {
      throw new IoError("EIO", "the peer is no NBD server of the fixed newstyle")
    }
    const name = Buffer.from(exportName)
    const option = Buffer.alloc(4 + 16 + 4 + name.length + 4)
    option.writeUInt32BE(flags & (Handshake.fixedNewstyle | Handshake.noZeroes), 0)
    option.writeBigUInt64BE(IHAVEOPT, 4)
    option.writeUInt32BE(Option.go, 12)
    option.writeUInt32BE(8 + name.length, 16)
    option.writeUInt32BE(name.length, 20)
    name.copy(option, 24)
    option.writeUInt16BE(1, 24 + name.length)
    option.writeUInt16BE(Info.blockSize, 26 + name.length)
    this.#socket.write(option)
    let described = false
    for (;;) {
      const head = await this.#take(20)
      const length = head.readUInt32BE(16)
      if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || head.readUInt32BE(8) !== Option.go || length > 65536) {
        throw new IoError("EIO", "the NBD server sent a malformed option reply")
      }
      const data = await this.#take(length)
      const type = head.readUInt32BE(12)
      if (type === OptionReply.info && length === 12 && data.readUInt16BE(0) === Info.export) {
        const size = data.readBigUInt64BE(2)
        if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new IoError("EOVERFLOW", `the export has ${size} bytes`)
        this.#size = Number(size)
        this.#flags = data.readUInt16BE(10)
        described = true
      } else if (type === OptionReply.info && length === 14 && data.readUInt16BE(0) === Info.blockSize) {
        this.#minimumBlock = data.readUInt32BE(2)
        this.#maximumBlock = Math.min(MAX_PAYLOAD, data.readUInt32BE(10))
        if (this.#minimumBlock === 0 || this.#maximumBlock < this.#minimumBlock) {
          throw new IoError("EIO", "the NBD server sent impossible block sizes")
        }
      } else if (type === OptionReply.ack && described) {
        return
      } else if (type !== OptionReply.info) {
        throw new IoError("EIO", `the NBD server refused the export (reply 0x${type.toString(16)}): ${data.toString()}`)
      }
    }
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const head = await this.#take(16)
        const cookie = Number(head.readBigUInt64BE(8))
        const pending = this.#pending.get(cookie)
        if (head.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || pending === undefined) {
          throw new IoError("EIO", "the NBD server sent a malformed reply")
        }
        const code = head.readUInt32BE(4)
        const data = code === 0 ? await this.#take(pending.length) : null
        this.#pending.delete(cookie)
        this.#watch()
        if (data === null) pending.reject(new IoError(errnoName(code), `the NBD server answered ${errnoName(code)}`))
        else pending.resolve(data)
      }
    } catch (error) {
      this.#gone ??= error as IoError
      this.#socket.destroy()
      if (this.#watchdog !== null) clearTimeout(this.#watchdog)
      for (const pending of this.#pending.values()) pending.reject(this.#gone)
      this.#pending.clear()
    }
  }

  /** Starts the server's time anew; called when it gave a sign, and when there is something to wait for. */
  #watch(): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog)
    this.#watchdog = null
    if (this.#timeoutMs === null || this.#pending.size === 0) return
    this.#watchdog = setTimeout(() => {
      this.#gone = timedOut()
      this.#socket.destroy()
    }, this.#timeoutMs)
  }

  #send(type: number, flags: number, offset: number, length: number, payload: Uint8Array | null): Promise<Buffer> {
    if (this.#gone !== null) return Promise.reject(this.#gone)
    const cookie = this.#next++
    const head = Buffer.alloc(28)
    head.writeUInt32BE(REQUEST_MAGIC, 0)
    head.writeUInt16BE(flags, 4)
    head.writeUInt16BE(type, 6)
    head.writeBigUInt64BE(BigInt(cookie), 8)
    head.writeBigUInt64BE(BigInt(offset), 16)
    head.writeUInt32BE(length, 24)
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, { length: type === Command.read ? length : 0, resolve, reject })
      if (this.#watchdog === null) this.#watch()
      this.#socket.cork()
      this.#socket.write(head)
      if (payload !== null) this.#socket.write(payload)
      this.#socket.uncork()
    })
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const parts: Promise<Buffer>[] = []
    for (let done = 0; done < length; done += this.#maximumBlock) {
      parts.push(this.#send(Command.read, 0, offset + done, Math.min(length - done, this.#maximumBlock), null))
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(await Promise.all(parts))
  }

  /** `bytes` must not change until this has resolved. */
  async write(offset: number, bytes: Uint8Array, { fua = false } = {}): Promise<void> {
    const parts: Promise<Buffer>[] = []
    for (let done = 0; done < bytes.length; done += this.#maximumBlock) {
      const part = bytes.subarray(done, done + this.#maximumBlock)
      parts.push(this.#send(Command.write, fua ? CommandFlag.fua : 0, offset + done, part.length, part))
    }
    await Promise.all(parts)
  }

  async flush(): Promise<void> {
    await this.#send(Command.flush, 0, 0, 0, null)
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#send(Command.trim, 0, offset, length, null)
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#send(Command.writeZeroes, 0, offset, length, null)
  }

  /** Ends the connection at once; requests in flight reject. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Says goodbye; requests in flight are answered first when the server keeps to the protocol. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#gone !== null) return
    this.#send(Command.disc, 0, 0, 0, null).catch(() => {})
    this.#socket.end()
    await this.#done
  }
}

function timedOut(): IoError {
  return new IoError("EIO", "the NBD server does not answer")
}
