/**
 * Transfers: whole sectors between an opened file or device and memory of this
 * object's, in plaintext, many under way at once (addon/disk). Reads that the
 * page cache cannot serve go past it, and do not fill it. A transfer only moves;
 * who may wait, tries again and knows what to say is the volume.
 */
import { Choice, createDisk, type DiskState, type NativeDisk, TRANSFERS } from "../native/disk.ts"

/** Called with 0 or an errno when a transfer has ended. */
export type Ended = (error: number) => void

const ROWS = 64
/** After so long without a transfer what is left in memory is wiped. */
const IDLE_MS = 1000
/** What a close waits for requests that the device holds. */
const CLOSE_MS = 2000

/** Name of the errno with which this kernel refuses io_uring for a readable file; `null`: it works. */
export function ringFault(fd: number): string | null {
  const disk = new Disk({ fd, directFd: null })
  try {
    return disk.status.refusal
  } finally {
    disk.close()
  }
}

export interface DiskStatus {
  readonly engine: DiskState["engine"]
  /** Name of an errno: why it is not io_uring. */
  readonly refusal: string | null
  /** Requests. */
  readonly underWay: number
  /** The most there have been at once, and the most there can be. */
  readonly deepest: number
  readonly bound: number
  /** Given up at a close: the device never answered. */
  readonly stranded: number
  /** Name of an errno: a flush failed, and nothing is written any more. */
  readonly failed: string | null
  /** That move and decrypt beside the event loop. */
  readonly threads: number
}

export interface DiskOptions {
  /** Descriptors stay the caller's. */
  readonly fd: number
  /** With O_DIRECT; `null`: there is none. */
  readonly directFd: number | null
  readonly engine?: keyof typeof Choice
  /** Everything goes past the page cache, where there is a way. */
  readonly direct?: boolean
  /** Threads beside the event loop, each with a queue of its own; default: none. */
  readonly threads?: number
}

export class Disk {
  readonly buffer: ArrayBuffer
  readonly bytes: Buffer
  readonly #native: NativeDisk
  readonly #rows = new Float64Array(2 * ROWS)
  readonly #ended: (Ended | null)[] = new Array(TRANSFERS).fill(null)
  readonly #tokens = Array.from({ length: TRANSFERS }, (_, token) => token)
  /** Memory that the next turn reads. */
  readonly #lenders = new Set<ArrayBuffer>()
  /** Threads beside the event loop. */
  readonly threads: number
  #begun = false
  #looking = false
  #wipe: NodeJS.Timeout | null = null
  #last: DiskState | null = null

  constructor({ fd, directFd, engine = "any", direct = false, threads = 0 }: DiskOptions) {
    this.threads = threads
    this.#native = createDisk(fd, directFd ?? -1, Choice[engine], direct, threads, () => this.#look())
    this.buffer = this.#native.buffer
    this.bytes = Buffer.from(this.buffer)
  }

  get status(): DiskStatus {
    const { engine, refusal, inflight, deepest, stranded, failed } = this.#last ?? this.#native.state()
    const reasons = { refusal: refusal || null, failed: failed || null }
    const { threads } = this
    return { engine, ...reasons, underWay: inflight, deepest, bound: TRANSFERS, stranded, threads }
  }

  /** Bytes: what offsets and lengths past the page cache are multiples of; `null`: there is no way past it. */
  get block(): number | null {
    return this.#native.block === 0 ? null : this.#native.block
  }

  /** For the enclave's client, which lends its key. */
  get native(): NativeDisk {
    return this.#native
  }

  /** Transfers under way. */
  get transfers(): number {
    return TRANSFERS - this.#tokens.length
  }

  /** fdatasync(2): covers every write whose end was told. Rejects with errno's name as `code`; once it failed, always. */
  sync(): Promise<void> {
    const done = this.#native.sync()
    this.#soon()
    return done
  }

  /**
   * The store's own bytes, all of them; they must not change until this has resolved. Rejects with errno's name as
   * `code`: EIO also where the store ends, EINVAL for parts of blocks where everything goes past the page cache.
   */
  get(offset: number, into: Uint8Array): Promise<void> {
    const done = this.#native.get(offset, into)
    this.#soon()
    return done
  }

  put(offset: number, from: Uint8Array): Promise<void> {
    const done = this.#native.put(offset, from)
    this.#soon()
    return done
  }

  /** fallocate(2) with FALLOC_FL_PUNCH_HOLE; less than 4 GiB. */
  punch(offset: number, length: number): Promise<void> {
    const done = this.#native.punch(offset, length)
    this.#soon()
    return done
  }

  /** Up to 128 KiB of `buffer`, from a multiple of 4096 on; -1: no room now. */
  reserve(length: number): number {
    return this.#tokens.length === 0 ? -1 : this.#native.reserve(length)
  }

  release(at: number, length: number): void {
    if (this.#last !== null) return
    this.#native.release(at, length)
    this.#wipe ??= setTimeout(() => this.#rest(), IDLE_MS).unref()
  }

  /** Whole sectors of the volume at `offset`, to where was reserved. Begun by `submit`, or soon. */
  read(offset: number, length: number, at: number, ended: Ended): void {
    this.#native.read(this.#token(ended), offset, length, at)
  }

  /** The same, from there; what is there afterwards is no plaintext. ENOKEY: nothing was written, and it still is. */
  write(offset: number, length: number, at: number, durable: boolean, ended: Ended): void {
    this.#native.write(this.#token(ended), offset, length, at, durable)
  }

  /**
   * The same of plaintext that lies in other memory from `from` on, and is not touched; its ciphertext goes to `at`. It
   * must not change before `submit`; what failed by the end of that has not been written, what fails later may be.
   * ENOKEY after that: it has not been either, and the plaintext is at `at`.
   */
  writeFrom(offset: number, length: number, at: number, memory: ArrayBuffer, from: number, ended: Ended): void {
    this.#lenders.add(memory)
    this.#native.writeFrom(this.#token(ended), offset, length, at, false, memory, from)
  }

  #token(ended: Ended): number {
    const token = this.#tokens.pop()
    if (token === undefined) throw new Error("a transfer without a reservation")
    this.#ended[token] = ended
    this.#soon()
    return token
  }

  #soon(): void {
    if (this.#begun) return
    this.#begun = true
    queueMicrotask(() => this.#look())
  }

  /** Begins what was asked for, and tells all that has ended. */
  submit(): void {
    while (this.#turn()) {}
  }

  /** Begins what was asked for, and tells some of what has ended: who is told asks for more, before the others are. */
  #look(): void {
    if (!this.#turn() || this.#looking) return
    this.#looking = true
    setImmediate(() => {
      this.#looking = false
      this.#look()
    })
  }

  /** Whether another turn is to follow. */
  #turn(): boolean {
    this.#begun = false
    this.#lenders.clear()
    if (this.#last !== null) return false
    const rows = this.#native.turn(this.#rows, ROWS)
    for (let row = 0; row < rows; row++) {
      const token = this.#rows[2 * row]!
      const ended = this.#ended[token]!
      this.#ended[token] = null
      this.#tokens.push(token)
      ended(this.#rows[2 * row + 1]!)
    }
    return rows > 0 && this.#last === null && this.#native.due()
  }

  #rest(): void {
    this.#wipe = null
    if (this.#last === null) this.#native.wipe()
  }

  /** Wipes what nobody has, as when the key is. */
  wipe(): void {
    if (this.#last === null) this.#native.wipe()
  }

  /** Waits for what the device holds, for a limited time. False: it holds some for ever. */
  close(): boolean {
    if (this.#last !== null) return true
    clearTimeout(this.#wipe ?? undefined)
    const state = this.#native.state()
    const closed = this.#native.close(state.inflight > 0 ? CLOSE_MS : 0)
    this.#last = closed ? state : { ...state, stranded: state.inflight }
    return closed
  }
}
