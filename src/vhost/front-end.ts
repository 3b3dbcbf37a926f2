/**
 * One connected front-end, QEMU for instance: its messages, one after the other, until it leaves. It is not trusted:
 * what it gets wrong ends its connection, or the ring that it is about.
 */
import { closeSync } from "node:fs"
import { constants } from "node:os"
import { type Deferred, deferred } from "../base/deferred.ts"
import { createChannel, type NativeChannel, READABLE, WRITABLE } from "../native/channel.ts"
import { DESCRIPTORS, MESSAGE_FILES, RINGS, type VhostCounters, vhostRecord } from "../native/vhost.ts"
import type { Disk } from "../store/disk.ts"
import type { Volume } from "../volume/volume.ts"
import { configSpace, EVENT_INDEX, features } from "./config.ts"
import {
  BackendRequest,
  backendRequest,
  configPayload,
  HEADER_SIZE,
  type Header,
  inflightPayload,
  MessageError,
  MOST_PAYLOAD,
  numberPayload,
  PROTOCOL_FEATURES,
  ProtocolFeature,
  Request,
  readConfigRange,
  readHeader,
  readInflight,
  readMemoryTable,
  readNumber,
  readVringAddress,
  readVringFile,
  readVringState,
  reply,
  vringStatePayload,
} from "./messages.ts"
import { type HeldRings, Rings } from "./rings.ts"

const { EAGAIN } = constants.errno
const OUTPUT_AT = HEADER_SIZE + MOST_PAYLOAD
const BUFFER = 2 * OUTPUT_AT

/** Until a front-end that was told of another size has asked for it. */
const ANNOUNCE_MS = 500

const SPOKEN = Object.values(ProtocolFeature).reduce((all, each) => all | each)

export interface FrontEndOptions {
  readonly volume: Volume
  readonly disk: Disk
  readonly id: Uint8Array
  readonly spin: number
  readonly warn: (message: string, facts: Record<string, unknown>) => void
  /** Begun by another process. */
  readonly held?: HeldFrontEnd
}

/** A front-end between two messages, with its rings at rest, for another process to go on with. */
export interface HeldFrontEnd {
  /** Its socket, and the one of our own requests, if there is one. */
  readonly socket: number
  readonly backend: number | null
  /** Accepted by it. */
  readonly features: bigint
  readonly protocol: bigint
  /** The size that it has been told, bytes. */
  readonly told: number
  readonly rings: HeldRings
}

/** Its descriptors: socket, backend, memory, record; kick, call and error of each ring; those that there are. */
export function filesOf({ socket, backend, rings: { memory, record, rings } }: HeldFrontEnd): number[] {
  const ofRings = rings.flatMap(({ kick, call, error }) => [kick, call, error])
  return [socket, backend ?? -1, ...(memory?.files ?? []), record?.file ?? -1, ...ofRings].filter((file) => file >= 0)
}

/** Descriptors that came with a message: those that nobody takes are closed. */
class Files {
  readonly #files: number[] = []

  add(files: Int32Array): void {
    for (const file of files) if (file >= 0) this.#files.push(file)
  }

  get all(): readonly number[] {
    return this.#files
  }

  /** The only one, for the caller to close. */
  take(): number {
    const [file] = this.#files
    if (file === undefined || this.#files.length !== 1) {
      throw new MessageError(`${this.#files.length} descriptors in the place of one`)
    }
    this.#files.length = 0
    return file
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.splice(0)) closeSync(file)
  }
}

export class FrontEnd {
  readonly #channel: NativeChannel
  readonly #bytes: Buffer
  readonly #fds = new Int32Array(MESSAGE_FILES)
  readonly #volume: Volume
  readonly #warn: FrontEndOptions["warn"]
  readonly #rings: Rings
  readonly #unsubscribe: () => void
  #woken: (() => void) | null = null
  #ended = false
  /** Accepted by it. */
  #features = 0n
  #protocol = 0n
  #backend: { readonly channel: NativeChannel; readonly bytes: Buffer } | null = null
  /** The size that it has been told, bytes. */
  #told = 0
  #announcing: NodeJS.Timeout | null = null
  /** No message is read, until `release`. `still`: none is half read; false: it has left. */
  #holding: { readonly still: Deferred<boolean>; readonly over: Deferred<void> } | null = null

  /** `fd`, of the socket, is duplicated. */
  constructor(fd: number, { volume, disk, id, spin, warn, held }: FrontEndOptions) {
    this.#volume = volume
    this.#warn = warn
    this.#channel = createChannel(fd, BUFFER, () => this.#wake())
    this.#bytes = Buffer.from(this.#channel.buffer)
    this.#rings = new Rings({
      disk: disk.native,
      discards: volume.discards,
      id,
      spin,
      onBroken: (ring, reason) => warn("a ring of the guest's is broken", { ring, reason }),
      onKeyless: () => volume.lost(),
      onStarted: () => this.#announce(),
      ...(held && { held: held.rings }),
    })
    if (held !== undefined) this.#restore(held)
    this.#rings.retry(volume.state === "failed")
    const retry = () => this.#rings.retry(volume.state === "failed")
    const stops = [volume.onChange(retry), volume.onQuietOver(retry)]
    this.#unsubscribe = () => {
      for (const stop of stops) stop()
    }
  }

  #restore({ backend, features, protocol, told }: HeldFrontEnd): void {
    this.#features = features
    this.#protocol = protocol
    this.#told = told
    if (backend !== null) this.#setBackend(backend)
  }

  /** QEMU does not ask again for the size when it connects again, nor does it listen before all rings run. */
  #announce(): void {
    this.#announcing ??= setInterval(() => {
      if (this.#told !== this.#volume.size && this.#rings.running) this.resized()
      else this.#silence()
    }, ANNOUNCE_MS).unref()
  }

  #silence(): void {
    clearInterval(this.#announcing ?? undefined)
    this.#announcing = null
  }

  get counters(): VhostCounters {
    return this.#rings.counters
  }

  /** A guest's driver uses it. */
  get running(): boolean {
    return this.#rings.running
  }

  #wake(): void {
    this.#channel.poll(0)
    this.#woken?.()
    this.#woken = null
  }

  #ready(events: number): Promise<void> {
    return new Promise((resolve) => {
      this.#woken = resolve
      this.#channel.poll(events)
    })
  }

  /** Fills [at, at + length). False: it has left. */
  async #receive(at: number, length: number, files: Files): Promise<boolean> {
    for (let got = 0; got < length; ) {
      if (this.#ended) return false
      if (at + got === 0 && this.#holding !== null) {
        this.#holding.still.resolve(true)
        await this.#holding.over.promise
        continue
      }
      const result = this.#channel.receiveWith(at + got, length - got, this.#fds)
      if (result === -EAGAIN) {
        await this.#ready(READABLE)
        continue
      }
      files.add(result > 0 ? this.#fds : new Int32Array(0))
      if (result <= 0) return false
      got += result
    }
    return true
  }

  async #send(bytes: Uint8Array, file: number | null = null): Promise<void> {
    this.#bytes.set(bytes, OUTPUT_AT)
    for (let sent = 0; sent < bytes.length; ) {
      if (this.#ended) return
      const rest = bytes.length - sent
      const result =
        file !== null && sent === 0
          ? this.#channel.sendWith(OUTPUT_AT, rest, file)
          : this.#channel.send(Float64Array.of(OUTPUT_AT + sent, rest), 1)
      if (result === -EAGAIN) await this.#ready(WRITABLE)
      else if (result <= 0) throw new MessageError("it does not take an answer")
      else sent += result
    }
  }

  /** Serves it until it leaves, or `end`. Never rejects. */
  async run(graceMs: number): Promise<void> {
    try {
      while (await this.#next()) {
        // One message after the other.
      }
    } catch (error) {
      this.#warn("a front-end of vhost-user was cut off", { reason: (error as Error).message })
    }
    this.#ended = true
    this.#holding?.still.resolve(false)
    this.#silence()
    this.#unsubscribe()
    await this.#rings.close(graceMs)
    this.#backend?.channel.close()
    this.#channel.close()
  }

  /**
   * Reads no more messages and stops its rings, until `release`; resolves when nothing of it is under way. It waits for
   * an answer meanwhile, and its guest for its requests. `null`: it has left.
   */
  async hold(): Promise<HeldFrontEnd | null> {
    const holding = { still: deferred<boolean>(), over: deferred<void>() }
    this.#holding = holding
    if (this.#ended) return null
    this.#wake()
    if (!(await holding.still.promise)) return null
    this.#silence()
    return {
      socket: this.#channel.descriptor(),
      backend: this.#backend?.channel.descriptor() ?? null,
      features: this.#features,
      protocol: this.#protocol,
      told: this.#told,
      rings: await this.#rings.hold(),
    }
  }

  /** Goes on after `hold`, whether that has resolved or not; or with what another process has held. */
  release(): void {
    this.#holding?.still.resolve(false)
    this.#holding?.over.resolve()
    this.#holding = null
    if (this.#ended) return
    this.#rings.release().catch((error: Error) => {
      this.#warn("a front-end of vhost-user was cut off", { reason: error.message })
      this.end()
    })
  }

  /** It has left, or is about to. */
  get gone(): boolean {
    return this.#ended || this.#channel.hungUp()
  }

  /** Stops reading its messages; `run` goes on to its end. */
  end(): void {
    this.#ended = true
    this.#holding?.over.resolve()
    this.#wake()
  }

  async #next(): Promise<boolean> {
    using files = new Files()
    if (!(await this.#receive(0, HEADER_SIZE, files))) return false
    const header = readHeader(this.#bytes.subarray(0, HEADER_SIZE))
    if (!(await this.#receive(HEADER_SIZE, header.size, files))) return false
    // A copy: what the message says does not change any more.
    const payload = Uint8Array.from(this.#bytes.subarray(HEADER_SIZE, HEADER_SIZE + header.size))
    const acknowledged = header.needsReply && (this.#protocol & ProtocolFeature.replyAck) !== 0n
    let failed = false
    try {
      if (await this.#answer(header, payload, files)) return true
    } catch (error) {
      if (!acknowledged) throw error
      this.#warn("a message of vhost-user was refused", {
        request: header.request,
        reason: (error as Error).message,
      })
      failed = true
    }
    if (acknowledged) await this.#send(reply(header.request, numberPayload(failed ? 1n : 0n)))
    return true
  }

  /** True: it had an answer of its own. */
  async #answer({ request }: Header, payload: Uint8Array, files: Files): Promise<boolean> {
    const rings = this.#rings
    const answer = async (bytes: Uint8Array, file?: number): Promise<true> => {
      await this.#send(reply(request, bytes), file)
      return true
    }
    switch (request) {
      case Request.getFeatures:
        return answer(numberPayload(features(this.#volume) | PROTOCOL_FEATURES))
      case Request.setFeatures:
        await this.#setFeatures(readNumber(payload))
        return false
      case Request.getProtocolFeatures:
        return answer(numberPayload(SPOKEN))
      case Request.setProtocolFeatures:
        this.#protocol = this.#subset(readNumber(payload), SPOKEN)
        return false
      case Request.setOwner:
        return false
      case Request.getQueueNumber:
        return answer(numberPayload(BigInt(RINGS)))
      case Request.getConfig:
        return answer(this.#config(payload))
      case Request.setMemoryTable: {
        const regions = readMemoryTable(payload)
        if (files.all.length !== regions.length) {
          throw new MessageError(`${regions.length} regions of memory with ${files.all.length} descriptors`)
        }
        await rings.setMemory(regions, files.all)
        return false
      }
      case Request.setVringNumber: {
        const { index, value } = readVringState(payload)
        if (value === 0 || value > DESCRIPTORS) throw new MessageError(`a ring of ${value} descriptors`)
        await rings.setSize(index, value)
        return false
      }
      case Request.setVringBase: {
        const { index, value } = readVringState(payload)
        await rings.setNext(index, value & 0xffff)
        return false
      }
      case Request.setVringAddress:
        await rings.setAddress(readVringAddress(payload))
        return false
      case Request.getVringBase: {
        const { index } = readVringState(payload)
        return answer(vringStatePayload({ index, value: await rings.stop(index) }))
      }
      case Request.setVringKick: {
        const { index, file } = readVringFile(payload)
        // Without one we were to look for requests all the time.
        if (!file) throw new MessageError("a ring without kicks")
        await rings.setKick(index, files.take())
        return false
      }
      case Request.setVringCall:
      case Request.setVringError: {
        const { index, file } = readVringFile(payload)
        const taken = file ? files.take() : -1
        try {
          if (request === Request.setVringCall) rings.setCall(index, taken)
          else rings.setError(index, taken)
        } finally {
          if (taken >= 0) closeSync(taken)
        }
        return false
      }
      case Request.setVringEnable: {
        const { index, value } = readVringState(payload)
        await rings.enable(index, value === 1)
        return false
      }
      case Request.setBackendChannel: {
        const file = files.take()
        try {
          this.#setBackend(file)
        } finally {
          closeSync(file)
        }
        return false
      }
      case Request.getInflight: {
        const { rings: count, descriptors } = readInflight(payload)
        const { fd, size } = vhostRecord(count, descriptors)
        try {
          const described = { size: BigInt(size), offset: 0n, rings: count, descriptors }
          return await answer(inflightPayload(described, payload.length), fd)
        } finally {
          closeSync(fd)
        }
      }
      case Request.setInflight: {
        const { size, offset, rings: count, descriptors } = readInflight(payload)
        const file = files.take()
        try {
          await rings.setInflight(file, safe(offset), safe(size), count, descriptors)
        } finally {
          closeSync(file)
        }
        return false
      }
      default:
        throw new MessageError(`request ${request}`)
    }
  }

  #subset(asked: bigint, offered: bigint): bigint {
    if ((asked & ~offered) !== 0n) throw new MessageError(`features that were not offered: 0x${asked.toString(16)}`)
    return asked
  }

  async #setFeatures(asked: bigint): Promise<void> {
    this.#features = this.#subset(asked, features(this.#volume) | PROTOCOL_FEATURES)
    await this.#rings.setEventIndex((asked & EVENT_INDEX) !== 0n)
    if ((this.#features & PROTOCOL_FEATURES) === 0n) this.#rings.enableAll()
  }

  #config(payload: Uint8Array): Uint8Array {
    const range = readConfigRange(payload)
    if (range.size !== payload.length - 12) throw new MessageError(`a configuration space of ${range.size} bytes`)
    this.#told = this.#volume.size
    return configPayload(range, configSpace(this.#volume, RINGS))
  }

  #setBackend(file: number): void {
    this.#backend?.channel.close()
    const channel = createChannel(file, HEADER_SIZE, () => {})
    this.#backend = { channel, bytes: Buffer.from(channel.buffer) }
  }

  /** The volume may have another size than the front-end knows: it asks, and tells the guest. */
  resized(): void {
    const backend = this.#backend
    if (backend === null || !this.#rings.running || this.#volume.size === this.#told) return
    backend.bytes.set(backendRequest(BackendRequest.configChange))
    // Nothing waits for it: who does not read its messages hears of it at the next start.
    backend.channel.send(Float64Array.of(0, HEADER_SIZE), 1)
  }
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MessageError(`a size of ${value} bytes`)
  return Number(value)
}
