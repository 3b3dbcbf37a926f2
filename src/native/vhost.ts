/** Threads that serve a guest's rings; addon/vhost. */
import { addon } from "./addon.ts"
import type { NativeDisk } from "./disk.ts"

/** Kinds of `onEvent`, enum vring_event. `value` of stopped: where the ring goes on; of broken: of RING_FAULTS. */
export const DeviceEvent = { stopped: 0, broken: 1, keyless: 2 } as const

/** enum virtqueue_fault. */
export const RING_FAULTS = [
  "sound",
  "the ring is not in the memory that was shared, or not aligned",
  "the available index is further ahead than the ring is long",
  "a descriptor number is outside the ring",
  "a chain of descriptors has no end",
  "an indirect table is malformed",
  "a buffer to read from follows one to write to",
  "a buffer is outside the memory that was shared",
  "a request has no header or no status",
  "memory that was shared was taken away",
  "the record of requests under way makes no sense",
  "no memory, descriptors or I/O for a thread",
  "the descriptor for kicks is unusable",
] as const

export interface VhostCounters {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly discards: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly errors: number
  readonly pending: number
}

/** Descriptors stay the caller's. What a peer got wrong is thrown with an errno's name as `code`; EBUSY: a ring runs. */
export interface NativeVhost {
  /** Rows of (fd, guest, size, user, offset). */
  setMemory(rows: BigUint64Array, count: number): void
  /** -1: none. */
  setInflight(fd: number, offset: number, size: number, rings: number, descriptors: number): void
  /** (size, next, descriptors, used, available). */
  start(ring: number, kick: number, place: BigUint64Array, eventIndex: boolean): void
  /** Answers what is under way; "stopped" tells the end. */
  stop(ring: number): void
  setCall(ring: number, fd: number): void
  setError(ring: number, fd: number): void
  /** Requests that found no key are tried again; `fail`: those that find none end in an error from now on. */
  retry(fail: boolean): void
  counters(): VhostCounters
  /** False: a thread hangs at a disk. */
  close(milliseconds: number): boolean
}

interface VhostFunctions {
  createVhost(
    disk: NativeDisk,
    discards: boolean,
    /** 20 bytes. */
    id: Uint8Array,
    /** Microseconds that a thread watches for the next request before it sleeps. */
    spin: number,
    onEvent: (event: number, ring: number, value: number) => void,
  ): NativeVhost
  /** Fresh memory for setInflight; the caller closes the descriptor. */
  vhostRecord(rings: number, descriptors: number): { readonly fd: number; readonly size: number }
}

export const { createVhost, vhostRecord } = addon as unknown as VhostFunctions

/** Rings of one front-end, and descriptors of one ring. */
export const RINGS = 64
export const DESCRIPTORS = 1024
/** Descriptors that a message brings along, at most. */
export const MESSAGE_FILES = 253
