/** A served scratch volume, and a peer that says on the wire whatever a test wants; for tests only. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createConnection, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type NbdServer, serveNbd } from "../export/server.ts"
import { Volume, type VolumeOptions } from "../volume/volume.ts"
import { HANDLE, TestEnclave } from "./test-enclave.ts"
import { WatchedStore } from "./watched-store.ts"

export const KEY = randomBytes(64)
export const STALL_MS = 200

export interface Scratch {
  readonly path: string
  readonly volume: Volume
  readonly store: WatchedStore
  readonly enclave: TestEnclave
  readonly server: NbdServer
}

/** The segment is the whole store. */
export async function served(
  body: (at: Scratch) => Promise<void>,
  {
    size = 1 << 20,
    stallMs = STALL_MS,
    most,
    ...options
  }: Partial<VolumeOptions> & { readonly size?: number; readonly stallMs?: number; readonly most?: number } = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-"))
  const store = new WatchedStore(new Uint8Array(size))
  const volume = new Volume({ offset: 0, sectorSize: 4096, ...options, store, size: null })
  const enclave = new TestEnclave(KEY, volume.sectorSize)
  volume.unlock(enclave.enclave, HANDLE)
  const path = join(folder, "nbd.sock")
  const server = await serveNbd({ path, volume, stallMs, ...(most === undefined ? {} : { most }) })
  try {
    await body({ path, volume, store, enclave, server })
  } finally {
    await server.close()
    await volume.close()
    rmSync(folder, { recursive: true })
  }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex")

export interface OptionAnswer {
  readonly option: number
  readonly type: number
  readonly data: Buffer
}

/** Numbers are written out here, so that a wrong one in protocol.ts cannot agree with itself. */
export class RawPeer {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #wake: (() => void) | null = null
  #over = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on("error", () => {})
    socket.on("close", () => {
      this.#over = true
      this.#wake?.()
    })
    socket.on("data", (data: Buffer) => {
      this.#received = Buffer.concat([this.#received, data])
      this.#wake?.()
    })
  }

  /** Not a word said or heard. */
  static async connect(path: string): Promise<RawPeer> {
    const socket = createConnection(path)
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject))
    return new RawPeer(socket)
  }

  /** Greeted, ready for options. */
  static async greeted(path: string, flags = 3): Promise<RawPeer> {
    const peer = await RawPeer.connect(path)
    const hello = await peer.take(18)
    if (!hello.equals(hex("4e42444d41474943 49484156454f5054 0003")))
      throw new Error(`greeted with ${hello.toString("hex")}`)
    peer.say(hex(`0000000${flags}`))
    return peer
  }

  /** In transmission; asked for structured replies and base:allocation when `structured`. */
  static async going(path: string, { structured = false } = {}): Promise<RawPeer> {
    const peer = await RawPeer.greeted(path)
    if (structured) {
      await peer.ask(8, Buffer.alloc(0))
      await peer.ask(10, RawPeer.contexts("base:allocation"))
    }
    const answers = await peer.ask(7, hex("00000000 0000"))
    if (answers.at(-1)!.type !== 1) throw new Error("GO was refused")
    return peer
  }

  /** Data of the meta context options. */
  static contexts(...queries: string[]): Buffer {
    const parts = [Buffer.alloc(8)]
    parts[0]!.writeUInt32BE(queries.length, 4)
    for (const query of queries) {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(query.length)
      parts.push(length, Buffer.from(query))
    }
    return Buffer.concat(parts)
  }

  say(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Rejects when the server ends the connection first. */
  async take(length: number): Promise<Buffer> {
    while (this.#received.length < length) {
      if (this.#over) throw new Error("cut off")
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    const bytes = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return bytes
  }

  /** Resolves when the server has ended the connection. */
  async cutOff(): Promise<void> {
    while (!this.#over) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  option(option: number, data: Uint8Array, length = data.length): void {
    const head = hex("49484156454f5054 00000000 00000000")
    head.writeUInt32BE(option, 8)
    head.writeUInt32BE(length, 12)
    this.say(Buffer.concat([head, data]))
  }

  async answer(): Promise<OptionAnswer> {
    const head = await this.take(20)
    if (!head.subarray(0, 8).equals(hex("0003e889045565a9"))) throw new Error(`answered with ${head.toString("hex")}`)
    return { option: head.readUInt32BE(8), type: head.readUInt32BE(12), data: await this.take(head.readUInt32BE(16)) }
  }

  /** All answers to one option: the last is ACK or an error. */
  async ask(option: number, data: Uint8Array): Promise<OptionAnswer[]> {
    this.option(option, data)
    const answers: OptionAnswer[] = []
    for (;;) {
      const answer = await this.answer()
      answers.push(answer)
      if (answer.type === 1 || answer.type >= 0x80000000) return answers
    }
  }

  static request(
    type: number,
    offset: bigint,
    length: number,
    { flags = 0, cookie = 7n, magic = 0x25609513 } = {},
  ): Buffer {
    const head = Buffer.alloc(28)
    head.writeUInt32BE(magic, 0)
    head.writeUInt16BE(flags, 4)
    head.writeUInt16BE(type, 6)
    head.writeBigUInt64BE(cookie, 8)
    head.writeBigUInt64BE(offset, 16)
    head.writeUInt32BE(length, 24)
    return head
  }

  /** The error number of a simple reply to cookie 7. */
  async simple(): Promise<number> {
    const head = await this.take(16)
    if (head.readUInt32BE(0) !== 0x67446698 || head.readBigUInt64BE(8) !== 7n) {
      throw new Error(`replied with ${head.toString("hex")}`)
    }
    return head.readUInt32BE(4)
  }

  /** A structured reply to cookie 7; it must be done with one chunk. */
  async chunk(): Promise<{ type: number; payload: Buffer }> {
    const head = await this.take(20)
    if (head.readUInt32BE(0) !== 0x668e33ef || head.readUInt16BE(4) !== 1 || head.readBigUInt64BE(8) !== 7n) {
      throw new Error(`replied with ${head.toString("hex")}`)
    }
    return { type: head.readUInt16BE(6), payload: await this.take(head.readUInt32BE(16)) }
  }

  destroy(): void {
    this.socket.destroy()
  }
}
