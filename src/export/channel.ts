/**
 * A connected socket with the memory it receives into and sends from
 * (addon/io/channel.c). Requests are parsed and replies made where they lie;
 * nothing is allocated per request.
 */
import { channelLent, channelRows, createChannel, type NativeChannel } from "../native/channel.ts"
import { REQUEST_BYTES } from "../nbd/protocol.ts"

/** Bytes of data that are moved at once: a batch of it stays in the CPU's cache. */
export const PIECE = 128 << 10

const EAGAIN = 11
const PAGE = 4096
/** A header that starts here ends on a multiple of 8, as the enclave wants its payload. */
const FRONT = 4
/** Input that needs no leave: requests with small payloads. */
const SMALL_INPUT = 72 << 10
/** Input is received into one room while payloads lie in the others. */
const ROOM_BYTES = PIECE + PAGE
const ROOMS = 4
const OUTPUT_AT = ROOMS * ROOM_BYTES
const OUTPUT_BYTES = 4 * PIECE + PAGE

export class Channel {
  readonly buffer: ArrayBuffer
  readonly view: DataView
  readonly bytes: Buffer
  readonly #native: NativeChannel
  readonly #segments = new Float64Array(2 * channelRows)
  #closed = false
  #polled = 0
  /** Input goes to `front` in the room that begins here, when all before it was taken. */
  #room = 0
  #front = FRONT
  /** Input that has not been taken lies in [start, end). */
  #start = FRONT
  #end = FRONT
  #limit = SMALL_INPUT
  #over = false
  #top = OUTPUT_AT
  #firstSegment = 0
  #segmentCount = 0
  #unsent = 0
  #lender: ArrayBuffer | null = null
  /** Called when nothing lent is left to be sent. */
  readonly #lent: (() => void)[] = []
  #moved = 0
  #used = false

  /** `fd` is duplicated. `onEvent`: READABLE, WRITABLE or both, as `poll` asked for. */
  constructor(fd: number, onEvent: (events: number) => void) {
    this.#native = createChannel(fd, OUTPUT_AT + OUTPUT_BYTES, onEvent)
    this.buffer = this.#native.buffer
    this.view = new DataView(this.buffer)
    this.bytes = Buffer.from(this.buffer)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Stays the channel's. */
  get descriptor(): number {
    return this.#native.descriptor()
  }

  /** Input that another process has received, up to PIECE bytes; before any other. */
  preload(input: Uint8Array): void {
    this.bytes.set(input, this.#end)
    this.#end += input.length
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    this.#giveBack()
  }

  #giveBack(): void {
    if (this.#lent.length === 0) return
    for (const release of this.#lent.splice(0)) release()
  }

  /** Asks for events, until asked otherwise. */
  poll(events: number): void {
    if (events === this.#polled || this.#closed) return
    this.#polled = events
    this.#native.poll(events)
  }

  /** Where the input starts that has not been taken. */
  get start(): number {
    return this.#start
  }

  /** Bytes of input that have not been taken. */
  get length(): number {
    return this.#end - this.#start
  }

  /** The peer has sent its last byte. */
  get over(): boolean {
    return this.#over
  }

  /** The peer takes nothing more either: it has closed, or died. */
  get hungUp(): boolean {
    return this.#closed || this.#native.hungUp()
  }

  /** Whether `receive` has room. */
  get hasRoom(): boolean {
    return !this.#over && this.length < this.#limit - FRONT
  }

  take(length: number): void {
    this.#start += length
    this.#rewind()
  }

  #rewind(): void {
    if (this.#start === this.#end) this.#start = this.#end = this.#room + this.#front
  }

  /** Whether what comes next is more of a payload, or a request. */
  expect(what: "payload" | "request"): void {
    this.#front = FRONT + (what === "payload" ? REQUEST_BYTES : 0)
    this.#rewind()
  }

  /** What was taken from the room with position `at` stays as it is until the third call after this one, or `rest`. */
  keep(at: number): void {
    this.#room = ((Math.floor(at / ROOM_BYTES) + 1) % ROOMS) * ROOM_BYTES
    this.#used = true
    this.#rewind()
  }

  /** Makes room for one request with a payload of up to PIECE bytes, or as much of a longer one; 0: for small ones. */
  allowPayload(length: number): void {
    this.#limit = Math.max(SMALL_INPUT, FRONT + REQUEST_BYTES + length)
    if (this.#limit > SMALL_INPUT) this.#used = true
  }

  /**
   * Up to `most` bytes more. False: none came within so many microseconds of
   * busy waiting, or the connection broke: then it is closed.
   */
  receive(most: number, microseconds = 0): boolean {
    if (this.#closed || !this.hasRoom) return false
    const base = this.#room + this.#front
    if (this.#start !== base) {
      this.bytes.copyWithin(base, this.#start, this.#end)
      this.#end += base - this.#start
      this.#start = base
    }
    const room = this.#limit - FRONT - this.length
    const got = this.#native.receive(this.#end, Math.min(most, room), microseconds)
    if (got > 0) this.#end += got
    else if (got === 0) this.#over = true
    else if (got !== -EAGAIN) this.close()
    return got >= 0
  }

  /** `length` bytes of output, 8-byte aligned, until they have been sent. -1: no room before more was sent. */
  reserve(length: number): number {
    const at = this.#top
    const next = at + ((length + 7) & ~7)
    if (next > OUTPUT_AT + OUTPUT_BYTES || this.#segmentCount >= channelRows - 1) return -1
    this.#top = next
    this.#used = true
    return at
  }

  /** To be sent after what was pushed before. */
  push(at: number, length: number): void {
    const last = 2 * (this.#segmentCount - 1)
    if (this.#unsent === 0) this.#moved = performance.now()
    this.#unsent += length
    if (this.#segmentCount > this.#firstSegment && this.#segments[last]! + this.#segments[last + 1]! === at) {
      this.#segments[last + 1]! += length
      return
    }
    this.#segments[last + 2] = at
    this.#segments[last + 3] = length
    this.#segmentCount++
  }

  /**
   * The same from memory of another's, always of the same `buffer`. `release`: it is not needed any more, also
   * when the channel closes.
   */
  pushLent(buffer: ArrayBuffer, at: number, length: number, release: () => void): void {
    if (this.#lender === null) {
      this.#native.lend(buffer)
      this.#lender = buffer
    }
    if (this.#lender !== buffer) throw new Error("a channel sends from one other's memory")
    this.#lent.push(release)
    this.push(channelLent + at, length)
  }

  /** Bytes pushed that the socket has not taken. */
  get unsent(): number {
    return this.#unsent
  }

  /** When the socket last took some, or first was given some; as performance.now(). */
  get moved(): number {
    return this.#moved
  }

  /** Sends what can be. True: everything left, and all of the output is free. */
  send(): boolean {
    while (this.#unsent > 0 && !this.#closed) {
      const first = this.#firstSegment
      const rest = first === 0 ? this.#segments : this.#segments.subarray(2 * first)
      let sent = this.#native.send(rest, this.#segmentCount - first)
      if (sent < 0) {
        if (sent !== -EAGAIN) this.close()
        return false
      }
      this.#unsent -= sent
      this.#moved = performance.now()
      while (sent > 0) {
        const segment = 2 * this.#firstSegment
        const part = Math.min(sent, this.#segments[segment + 1]!)
        this.#segments[segment]! += part
        this.#segments[segment + 1]! -= part
        sent -= part
        if (this.#segments[segment + 1] === 0) this.#firstSegment++
      }
    }
    if (this.#closed) return false
    this.#firstSegment = this.#segmentCount = 0
    this.#top = OUTPUT_AT
    this.#giveBack()
    return true
  }

  /** Gives memory back that was not used since the last call. */
  rest(): void {
    if (this.length === 0) this.#room = 0
    this.#rewind()
    if (!this.#used && !this.#closed && this.#unsent === 0 && this.#end <= SMALL_INPUT) {
      this.#native.forget(SMALL_INPUT, OUTPUT_AT + OUTPUT_BYTES - SMALL_INPUT)
    }
    this.#used = false
  }
}
