/** Block devices by the kernel's ublk; addon/ublk. */
import { addon } from "./addon.ts"
import type { NativeDisk } from "./disk.ts"

export type NativeServer = object & { readonly __ublk: true }

/**
 * What needs the key, while there is none: "hold" leaves it with the kernel, "fail" ends it with EIO. "drain": all that
 * comes stays with the kernel, and what is under way ends.
 */
export const Mode = { serve: 0, hold: 1, fail: 2, drain: 3 } as const

/** "starved": a request found no key. "ended": a queue has; an errno's name, or "" when the device was stopped. */
export type Told = (what: "starved" | "ended", errno: string) => void

export interface ServerCounters {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly discards: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly errors: number
  /** Now, for a key. */
  readonly waiting: number
}

interface UblkFunctions {
  /** The payload as it is afterwards; rejects with an errno's name as `code`. */
  ublkControl(operation: number, id: number, data: number, payload: Uint8Array): Promise<Uint8Array>
  /** Serves /dev/ublkcID; every tag is fetched when it returns. Throws with an errno's name as `code`. */
  ublkOpen(disk: NativeDisk, id: number, queues: number, depth: number, discards: boolean, onEvent: Told): NativeServer
  ublkSetMode(server: NativeServer, mode: number): void
  /** In mode "drain": nothing is under way, nor will be until the mode is set. */
  ublkDrained(server: NativeServer): boolean
  /** The kernel has taken no tag back. */
  ublkWhole(server: NativeServer): boolean
  ublkCounters(server: NativeServer): ServerCounters
  /** Threads end; requests not answered are the next server's. */
  ublkStop(server: NativeServer): void
}

const functions = addon as unknown as UblkFunctions

/** An object of its own, whose functions a test may replace. */
export const ublk: UblkFunctions = {
  ublkControl: functions.ublkControl,
  ublkOpen: functions.ublkOpen,
  ublkSetMode: functions.ublkSetMode,
  ublkDrained: functions.ublkDrained,
  ublkWhole: functions.ublkWhole,
  ublkCounters: functions.ublkCounters,
  ublkStop: functions.ublkStop,
}
