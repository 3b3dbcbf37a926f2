/**
 * The rings of one front-end: what it has said of each, and the threads of addon/vhost that serve those which may
 * run. A change to a ring that runs stops it, and starts it again where it stopped.
 */
import { closeSync } from "node:fs"
import { duplicate } from "../native/addon.ts"
import type { NativeDisk } from "../native/disk.ts"
import { createVhost, DeviceEvent, type NativeVhost, RING_FAULTS, RINGS, type VhostCounters } from "../native/vhost.ts"
import type { MemoryRegion, VringAddress } from "./messages.ts"

interface Ring {
  descriptors: number
  next: number
  address: VringAddress | null
  /** -1: none; so are the other two. */
  kick: number
  call: number
  error: number
  enabled: boolean
  /** Until the front-end kicks it off again. */
  broken: boolean
  running: boolean
}

interface Memory {
  readonly regions: readonly MemoryRegion[]
  /** A descriptor for each. */
  readonly files: readonly number[]
}

/** Where requests under way are recorded; `descriptors`: of each ring. */
interface Record {
  readonly file: number
  readonly offset: number
  readonly size: number
  readonly rings: number
  readonly descriptors: number
}

/** Rings at rest, for another process to go on with. Descriptors stay whose they are. */
export interface HeldRings {
  readonly memory: Memory | null
  readonly record: Record | null
  readonly eventIndex: boolean
  /** All of them, by their numbers. */
  readonly rings: readonly Readonly<Omit<Ring, "running">>[]
}

/** Closes all but -1. */
function closeAll(files: readonly number[]): void {
  for (const file of files) if (file >= 0) closeSync(file)
}

/** Calls `use` with descriptors of our own, -1 for -1, which are closed when it throws. */
function withOwn(files: readonly number[], use: (own: readonly number[]) => void): void {
  const own: number[] = []
  try {
    for (const file of files) own.push(file < 0 ? -1 : duplicate(file))
    use(own)
  } catch (error) {
    closeAll(own)
    throw error
  }
}

export interface RingsOptions {
  readonly disk: NativeDisk
  readonly discards: boolean
  /** 20 bytes. */
  readonly id: Uint8Array
  /** Microseconds. */
  readonly spin: number
  readonly onBroken: (ring: number, reason: string) => void
  readonly onKeyless: () => void
  readonly onStarted: () => void
  /** Begun by another process, for `release` to start. */
  readonly held?: HeldRings
}

export class Rings {
  readonly #native: NativeVhost
  readonly #rings: Ring[] = []
  readonly #options: RingsOptions
  readonly #stopped: (() => void)[] = []
  #memory: Memory | null = null
  #record: Record | null = null
  #eventIndex = false
  /** None starts, until `release`. */
  #held = false
  #closed: VhostCounters | null = null

  constructor(options: RingsOptions) {
    this.#options = options
    const { disk, discards, id, spin } = options
    this.#native = createVhost(disk, discards, id, spin, (event, ring, value) => this.#hear(event, ring, value))
    for (let index = 0; index < RINGS; index++) {
      this.#rings.push({
        descriptors: 0,
        next: 0,
        address: null,
        kick: -1,
        call: -1,
        error: -1,
        enabled: false,
        broken: false,
        running: false,
      })
    }
    if (options.held === undefined) return
    try {
      this.#restore(options.held)
    } catch (error) {
      this.#native.close(0)
      throw error
    }
  }

  #restore({ memory, record, eventIndex, rings }: HeldRings): void {
    this.#held = true
    this.#eventIndex = eventIndex
    if (memory !== null) this.#map(memory)
    if (record !== null) this.#keepRecord(record)
    for (const [index, { kick, call, error, ...rest }] of rings.entries()) {
      Object.assign(this.#at(index), rest)
      if (kick >= 0) this.#at(index).kick = duplicate(kick)
      this.setCall(index, call)
      this.setError(index, error)
    }
  }

  #hear(event: number, index: number, value: number): void {
    const ring = this.#rings[index]!
    if (event === DeviceEvent.keyless) this.#options.onKeyless()
    if (event === DeviceEvent.broken) {
      ring.broken = true
      this.#options.onBroken(index, RING_FAULTS[value]!)
    }
    if (event !== DeviceEvent.stopped) return
    ring.running = false
    ring.next = value
    for (const tell of this.#stopped.splice(0)) tell()
  }

  get counters(): VhostCounters {
    return this.#closed ?? this.#native.counters()
  }

  get running(): boolean {
    return this.#rings.some((ring) => ring.running)
  }

  /** Resolves when none of them runs. */
  async #pause(rings: readonly Ring[]): Promise<void> {
    for (const ring of rings) if (ring.running) this.#native.stop(this.#rings.indexOf(ring))
    while (rings.some((ring) => ring.running)) await new Promise<void>((resolve) => this.#stopped.push(resolve))
  }

  #start(ring: Ring): void {
    const { descriptors, next, address, kick, enabled, broken, running } = ring
    if (address === null || kick < 0 || !enabled || broken || running || this.#memory === null) return
    if (this.#held || this.#closed !== null) return
    const place = [BigInt(descriptors), BigInt(next), address.descriptors, address.used, address.available]
    this.#native.start(this.#rings.indexOf(ring), kick, BigUint64Array.from(place), this.#eventIndex)
    ring.running = true
    this.#options.onStarted()
  }

  async #change(rings: readonly Ring[], change: () => void): Promise<void> {
    await this.#pause(rings)
    try {
      change()
    } finally {
      // Refused, they go on as they were.
      for (const ring of rings) this.#start(ring)
    }
  }

  #at(index: number): Ring {
    const ring = this.#rings[index]
    if (ring === undefined) throw new RangeError(`there is no ring ${index}`)
    return ring
  }

  /** `files`: a descriptor for each region, the caller's. */
  setMemory(regions: readonly MemoryRegion[], files: readonly number[]): Promise<void> {
    return this.#change(this.#rings, () => this.#map({ regions, files }))
  }

  #map({ regions, files }: Memory): void {
    withOwn(files, (own) => {
      const rows = regions.flatMap(({ guest, size, user, offset }, row) => [
        BigInt(own[row]!),
        guest,
        size,
        user,
        offset,
      ])
      this.#native.setMemory(BigUint64Array.from(rows), regions.length)
      closeAll(this.#memory?.files ?? [])
      this.#memory = { regions, files: own }
    })
  }

  /** `file` is the caller's. */
  setInflight(file: number, offset: number, size: number, rings: number, descriptors: number): Promise<void> {
    return this.#change(this.#rings, () => this.#keepRecord({ file, offset, size, rings, descriptors }))
  }

  #keepRecord(record: Record): void {
    withOwn([record.file], ([file]) => {
      this.#native.setInflight(file!, record.offset, record.size, record.rings, record.descriptors)
      closeAll(this.#record === null ? [] : [this.#record.file])
      this.#record = { ...record, file: file! }
    })
  }

  async setEventIndex(on: boolean): Promise<void> {
    if (on !== this.#eventIndex)
      await this.#change(this.#rings, () => {
        this.#eventIndex = on
      })
  }

  setSize(index: number, descriptors: number): Promise<void> {
    const ring = this.#at(index)
    return this.#change([ring], () => {
      ring.descriptors = descriptors
    })
  }

  setNext(index: number, next: number): Promise<void> {
    const ring = this.#at(index)
    return this.#change([ring], () => {
      ring.next = next
    })
  }

  setAddress(address: VringAddress): Promise<void> {
    const ring = this.#at(address.index)
    return this.#change([ring], () => {
      ring.address = address
    })
  }

  /** Takes over the descriptor; -1: the ring is not to run. */
  async setKick(index: number, file: number): Promise<void> {
    const ring = this.#at(index)
    await this.#change([ring], () => {
      closeAll([ring.kick])
      ring.kick = file
      ring.broken = false
    })
  }

  /** At any time, without a pause. -1: none. The caller's, as the next. */
  setCall(index: number, file: number): void {
    const ring = this.#at(index)
    withOwn([file], ([own]) => {
      this.#native.setCall(index, own!)
      closeAll([ring.call])
      ring.call = own!
    })
  }

  setError(index: number, file: number): void {
    const ring = this.#at(index)
    withOwn([file], ([own]) => {
      this.#native.setError(index, own!)
      closeAll([ring.error])
      ring.error = own!
    })
  }

  enable(index: number, enabled: boolean): Promise<void> {
    const ring = this.#at(index)
    return this.#change([ring], () => {
      ring.enabled = enabled
    })
  }

  enableAll(): void {
    for (const ring of this.#rings) {
      ring.enabled = true
      this.#start(ring)
    }
  }

  /** Stops it; where it goes on. */
  async stop(index: number): Promise<number> {
    await this.setKick(index, -1)
    return this.#at(index).next
  }

  /** Stops all of them, until `release`. Resolves when none of them runs. */
  async hold(): Promise<HeldRings> {
    this.#held = true
    await this.#pause(this.#rings)
    return { memory: this.#memory, record: this.#record, eventIndex: this.#eventIndex, rings: this.#rings }
  }

  /** They go on, each as soon as it has stopped. Rejects when one cannot. */
  async release(): Promise<void> {
    this.#held = false
    await Promise.all(this.#rings.map((ring) => this.#change([ring], () => {})))
  }

  retry(fail: boolean): void {
    if (this.#closed === null) this.#native.retry(fail)
  }

  /** Answers what is under way, for `graceMs`, and gives up the guest's memory. */
  async close(graceMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, graceMs)))
    await Promise.race([this.#pause(this.#rings), late]).finally(() => clearTimeout(timer))
    if (this.#closed !== null) return
    this.#closed = { ...this.#native.counters(), pending: 0 }
    this.#native.close(0)
    closeAll(this.#rings.flatMap(({ kick, call, error }) => [kick, call, error]))
    closeAll([...(this.#memory?.files ?? []), ...(this.#record === null ? [] : [this.#record.file])])
  }
}
