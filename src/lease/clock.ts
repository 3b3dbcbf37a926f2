/** Time as leases count it: it goes on while the machine sleeps. */
import { uptime } from "node:os"

export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number
  /** Calls once, not before `ms` have passed; returns what ends that. */
  after(ms: number, call: () => void): () => void
}

/** libuv reads /proc/uptime, which is CLOCK_BOOTTIME in steps of 10 ms. A timer may be late by the time slept. */
export const bootClock: Clock = {
  now: () => uptime() * 1000,
  after: (ms, call) => {
    const timer = setTimeout(call, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
