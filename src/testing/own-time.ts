/** A clock for what this process does, on a machine that does other things as well. */
import { readFileSync } from "node:fs"

/**
 * Milliseconds without those for which the main thread was ready to run and others had the CPU (proc(5):
 * schedstat's second number, nanoseconds). On a quiet machine it is the clock; whoever waits for a timer, a lock or
 * a peer waits by it as well.
 */
export function ownTime(): number {
  const waited = Number(readFileSync("/proc/self/schedstat", "latin1").split(" ")[1])
  return performance.now() - waited / 1e6
}
