/**
 * The socket between two tresords of which one takes a volume over from the other: lines of JSON, and descriptors in
 * front of the line that they belong to, each with one byte of its own. The sender's process is our parent or our child.
 */
import { closeSync } from "node:fs"
import { parseJson } from "../../base/json.ts"
import { createChannel, type NativeChannel, READABLE, WRITABLE } from "../../native/channel.ts"

const ROOM = 64 << 10
const OUT = ROOM
/** Announces a descriptor; no character of a line. */
const DESCRIPTOR = 1
const NEWLINE = 10
const EAGAIN = 11
/** Bytes of a line: the input of one client, in base64, is the longest. */
const LONGEST = 1 << 20

/** For JSON.stringify, which knows no bigint. */
export const inDecimal = (_: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value)

export interface Received {
  readonly message: unknown
  /** The receiver's. */
  readonly fds: readonly number[]
}

export class TakeoverChannel {
  readonly #native: NativeChannel
  readonly #bytes: Buffer
  #closed = false
  /** The other end has closed, or does not speak our language. */
  #over = false
  #wants = READABLE
  #wake: (() => void)[] = []
  /** What has come of a line, and of the descriptors in front of it. */
  #line: Buffer[] = []
  #length = 0
  #announced: number[] = []
  readonly #received: Received[] = []

  /** `fd` is closed. */
  constructor(fd: number) {
    this.#native = createChannel(fd, 2 * ROOM, () => this.#onEvent())
    closeSync(fd)
    this.#bytes = Buffer.from(this.#native.buffer)
    this.#native.poll(READABLE)
  }

  /** Rejects with an Error when the other end has closed. */
  async send(message: object, fds: readonly number[] = []): Promise<void> {
    this.#bytes[OUT] = DESCRIPTOR
    for (const fd of fds) await this.#write(() => this.#native.sendWith(OUT, 1, fd))
    const line = Buffer.from(`${JSON.stringify(message, inDecimal)}\n`)
    for (let done = 0; done < line.length; ) {
      const part = Math.min(ROOM, line.length - done)
      line.copy(this.#bytes, OUT, done, done + part)
      const row = new Float64Array([OUT, part])
      done += await this.#write(() => this.#native.send(row, 1))
    }
  }

  async #write(attempt: () => number): Promise<number> {
    for (;;) {
      const sent = this.#closed ? -1 : attempt()
      if (sent > 0) return sent
      if (sent !== -EAGAIN) throw new Error("the other process has ended")
      this.#poll(READABLE | WRITABLE)
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /** The next message; `null`: the other end has closed. */
  async receive(): Promise<Received | null> {
    for (;;) {
      const received = this.#received.shift()
      if (received !== undefined) return received
      if (this.#over || this.#closed) return null
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /** What was received and not asked for is closed too. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    for (const fd of [...this.#announced, ...this.#received.flatMap(({ fds }) => fds)]) closeSync(fd)
    this.#received.length = 0
    this.#announced = []
    this.#tell()
  }

  #poll(events: number): void {
    this.#wants = events
    this.#native.poll(events)
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }

  #onEvent(): void {
    const fds = new Int32Array(4)
    while (!this.#over) {
      const got = this.#native.receiveWith(0, ROOM, fds)
      if (got === -EAGAIN) break
      if (got > 0)
        this.#take(
          this.#bytes.subarray(0, got),
          [...fds].filter((fd) => fd >= 0),
        )
      else this.#over = true
    }
    if (this.#over) this.#poll(0)
    else if (this.#wants !== READABLE) this.#poll(READABLE)
    this.#tell()
  }

  #take(bytes: Buffer, fds: number[]): void {
    for (let at = 0; at < bytes.length; ) {
      if (bytes[at] === DESCRIPTOR) {
        const fd = fds.shift()
        if (fd === undefined) {
          this.#over = true
          return
        }
        this.#announced.push(fd)
        at++
        continue
      }
      const newline = bytes.indexOf(NEWLINE, at)
      const next = bytes.indexOf(DESCRIPTOR, at)
      const end = newline >= 0 ? newline : next >= 0 ? next : bytes.length
      this.#line.push(Buffer.from(bytes.subarray(at, end)))
      this.#length += end - at
      if (this.#length > LONGEST) {
        this.#over = true
        return
      }
      at = end
      if (newline < 0) continue
      at++
      this.#finish()
    }
  }

  #finish(): void {
    const text = Buffer.concat(this.#line).toString()
    this.#line = []
    this.#length = 0
    try {
      this.#received.push({ message: parseJson(text), fds: this.#announced })
      this.#announced = []
    } catch {
      this.#over = true
    }
  }
}
