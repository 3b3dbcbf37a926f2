/** CPU time and memory of a process, all its threads together (proc(5)). */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }))

/** Seconds in user and kernel mode since its start; the clock ticks every 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
  // Field 2 is the name in parentheses, which may hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** Resident bytes now. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024
}

/** The most bytes that were resident. */
export function peakBytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024
}
