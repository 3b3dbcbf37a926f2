/** What is measured at each contender: the seven points of the goals. */

export interface Point {
  readonly name: string
  readonly rw: "randread" | "randwrite" | "read" | "write"
  readonly blockKib: 4 | 128 | 1024
  readonly depth: number
  /** What is compared: operations or bytes a second (more is better), or microseconds an operation (less is). */
  readonly unit: "kIOPS" | "MB/s" | "us"
}

export const POINTS: readonly Point[] = [
  { name: "4k randread qd16", rw: "randread", blockKib: 4, depth: 16, unit: "kIOPS" },
  { name: "4k randwrite qd16", rw: "randwrite", blockKib: 4, depth: 16, unit: "kIOPS" },
  { name: "128k read qd16", rw: "read", blockKib: 128, depth: 16, unit: "MB/s" },
  { name: "128k write qd16", rw: "write", blockKib: 128, depth: 16, unit: "MB/s" },
  { name: "1m read qd8", rw: "read", blockKib: 1024, depth: 8, unit: "MB/s" },
  { name: "1m write qd8", rw: "write", blockKib: 1024, depth: 8, unit: "MB/s" },
  { name: "4k randread qd1", rw: "randread", blockKib: 4, depth: 1, unit: "us" },
]

/** How many times better `ours` is than `theirs`. */
export function advantage(point: Point, ours: number, theirs: number): number {
  return point.unit === "us" ? theirs / ours : ours / theirs
}
