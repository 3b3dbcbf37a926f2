/**
 * Writes of whole sectors that go past the page cache: encrypted where they lie in the channel, in one entry of the
 * enclave, into the memory of the volume's transfers, and under way while more is received. As long as a payload
 * is in the channel, whatever fails is left to the slow path; what the disk refuses later is told to the client. Threads
 * beside the event loop encrypt a copy of the payload; one that finds no key leaves it to who waits for one.
 */
import { getSystemErrorMap } from "node:util"
import { asIoError } from "../base/io-error.ts"
import type { Disk } from "../store/disk.ts"
import { ROWS } from "../volume/sector-batch.ts"
import type { Volume } from "../volume/volume.ts"
import type { Channel } from "./channel.ts"
import type { Request } from "./request.ts"
import type { MovesWrites, Outcome } from "./writes.ts"

const ENOKEY = 126
const EIO = 5
const ERRNOS = new Map([...getSystemErrorMap()].map(([errno, [name]]) => [name, -errno]))

/** So often rows are left to wait: each time takes a room of the channel. Three together are begun by one call of a device. */
const DEFERRALS = 3

/** A small write, or a piece of a large one, until it is under way. */
interface Row {
  readonly request: Request
  readonly offset: number
  readonly length: number
  /** Where its payload is in the channel. */
  readonly payload: number
  /** Where its ciphertext goes in the disk's memory; -1: there is no room. */
  readonly at: number
  readonly release: () => void
}

/** A request of which rows are under way, or were. */
interface Write {
  /** Rows that the volume has. */
  underWay: number
  /** The first errno of those that failed. */
  error: number
  /** The last row was begun, and the slow path has none of it. */
  whole: boolean
}

export interface WriteEvents {
  /** A write is through, or has failed with an errno. */
  readonly ended: (request: Request, error: number) => void
  /** There is room for more. */
  readonly progress: () => void
}

export class TransferredWrites implements MovesWrites {
  readonly #volume: Volume
  readonly #channel: Channel
  readonly #share: () => number
  readonly #events: WriteEvents
  readonly #writes = new Map<Request, Write>()
  readonly #rows: Row[] = []
  /** Bytes of the disk's memory: under way, or in rows. */
  #held = 0
  #underWay = 0
  #deferred = 0
  /** Rows were added after the last deferral. */
  #fresh = false

  /** `share`: bytes this connection may hold. */
  constructor(volume: Volume, channel: Channel, share: () => number, events: WriteEvents) {
    this.#volume = volume
    this.#channel = channel
    this.#share = share
    this.#events = events
  }

  get underWay(): boolean {
    return this.#underWay > 0
  }

  takes(length: number): boolean {
    if (this.#deferred >= DEFERRALS || this.#rows.length >= ROWS) return false
    return this.#held === 0 || this.#held + length <= this.#share()
  }

  add(request: Request, from: number, length: number, payload: number): void {
    const offset = request.offset + from
    const at = this.#volume.disk?.reserve(length) ?? -1
    this.#held += length
    this.#rows.push({ request, offset, length, payload, at, release: this.#volume.holdSectors(offset, length) })
    this.#fresh = true
  }

  defer(): void {
    if (!this.#fresh) return
    this.#fresh = false
    this.#deferred++
    this.#channel.keep(this.#rows.at(-1)!.payload)
  }

  settled(request: Request): number | "under way" {
    const write = this.#writes.get(request)
    return write === undefined ? 0 : write.underWay > 0 ? "under way" : write.error
  }

  forget(request: Request): void {
    this.#writes.delete(request)
  }

  move(): Outcome[] {
    if (this.#rows.length === 0) return []
    const { disk } = this.#volume
    const rows = this.#rows.splice(0)
    const failed = new Set<Row>()
    let submitting = true
    for (const row of rows) {
      if (disk === null || row.at < 0) {
        failed.add(row)
        this.#release(disk, row)
        continue
      }
      const write = this.#writes.get(row.request) ?? { underWay: 0, error: 0, whole: false }
      this.#writes.set(row.request, write)
      write.underWay++
      this.#underWay++
      const { offset, length, at, payload } = row
      const ended = (error: number) => {
        write.underWay--
        this.#underWay--
        this.#release(disk, row)
        if (error !== 0 && submitting) failed.add(row)
        else if (error !== 0 && write.error === 0) write.error = error
        if (!submitting) this.#end(row.request, write)
        // Also of one that ends at once: this turn has sent its answers.
        this.#events.progress()
      }
      this.#volume.transferWrite(disk, { offset, length, at, from: payload }, this.#channel.buffer, (error) => {
        if (error !== ENOKEY || submitting) return ended(error)
        this.#volume.writeHeld(disk, offset, length, at).then(
          () => ended(0),
          (failure) => ended(ERRNOS.get(asIoError(failure).code) ?? EIO),
        )
      })
    }
    disk?.submit()
    submitting = false
    this.#fresh = false
    this.#deferred = 0
    return this.#outcomes(rows, failed)
  }

  #release(disk: Disk | null, { at, length, release }: Row): void {
    this.#held -= length
    if (at >= 0) disk?.release(at, length)
    release()
  }

  #end(request: Request, write: Write): void {
    if (!write.whole || write.underWay > 0) return
    this.#writes.delete(request)
    this.#events.ended(request, write.error)
  }

  /** Of the requests that a row failed of; the others end by themselves. */
  #outcomes(rows: readonly Row[], failed: ReadonlySet<Row>): Outcome[] {
    const outcomes: Outcome[] = []
    let parts: Buffer[] = []
    rows.forEach((row, index) => {
      const { request, offset, length, payload } = row
      if (parts.length > 0 || failed.has(row)) {
        parts.push(Buffer.from(this.#channel.bytes.subarray(payload, payload + length)))
      }
      const complete = offset + length === request.offset + request.length
      if (!complete && rows[index + 1]?.request === request) return
      if (parts.length > 0) {
        outcomes.push({ request, complete, unwritten: Buffer.concat(parts) })
      } else if (complete) {
        const write = this.#writes.get(request)!
        write.whole = true
        this.#end(request, write)
      }
      parts = []
    })
    return outcomes
  }
}
