/** What is measured at each contender. Pure. */

export interface Point {
  readonly name: string
  readonly rw: "randread" | "randwrite" | "read" | "write"
  readonly blockKib: 4 | 128 | 1024
  readonly depth: number
  /** What is compared: operations or bytes a second (more is better), or microseconds an operation (less is). */
  readonly unit: "kIOPS" | "MB/s" | "us"
  /** A FLUSH after so many writes. */
  readonly fsyncEvery?: number
  /** Of a volume that is open with --direct. */
  readonly direct?: boolean
  /** Of a virtual machine's disk; one, unless said. Its depth is that of all together. */
  readonly queues?: number
}

/** With everything in the page cache: the seven points of the goals. */
export const POINTS: readonly Point[] = [
  { name: "4k randread qd16", rw: "randread", blockKib: 4, depth: 16, unit: "kIOPS" },
  { name: "4k randwrite qd16", rw: "randwrite", blockKib: 4, depth: 16, unit: "kIOPS" },
  { name: "128k read qd16", rw: "read", blockKib: 128, depth: 16, unit: "MB/s" },
  { name: "128k write qd16", rw: "write", blockKib: 128, depth: 16, unit: "MB/s" },
  { name: "1m read qd8", rw: "read", blockKib: 1024, depth: 8, unit: "MB/s" },
  { name: "1m write qd8", rw: "write", blockKib: 1024, depth: 8, unit: "MB/s" },
  { name: "4k randread qd1", rw: "randread", blockKib: 4, depth: 1, unit: "us" },
]

const DISK_READS: readonly Point[] = [
  { name: "4k randread qd1", rw: "randread", blockKib: 4, depth: 1, unit: "kIOPS" },
  { name: "4k randread qd32", rw: "randread", blockKib: 4, depth: 32, unit: "kIOPS" },
  { name: "128k randread qd8", rw: "randread", blockKib: 128, depth: 8, unit: "MB/s" },
  { name: "1m read qd8", rw: "read", blockKib: 1024, depth: 8, unit: "MB/s" },
]

const DISK_WRITES: readonly Point[] = [
  { name: "4k randwrite qd32", rw: "randwrite", blockKib: 4, depth: 32, unit: "kIOPS" },
  { name: "128k write qd8", rw: "write", blockKib: 128, depth: 8, unit: "MB/s" },
  { name: "1m write qd8", rw: "write", blockKib: 1024, depth: 8, unit: "MB/s" },
]

/** On the disk, with nothing in the page cache at first. */
export const DISK_POINTS: readonly Point[] = [
  ...DISK_READS.map((point) => ({ ...point, name: `cold ${point.name}` })),
  ...DISK_READS.map((point) => ({ ...point, name: `direct ${point.name}`, direct: true })),
  ...DISK_WRITES.flatMap((point) => [
    { ...point, name: `direct ${point.name}`, direct: true },
    { ...point, name: `direct ${point.name}, fsync`, direct: true, fsyncEvery: 32 },
  ]),
]

const VHOST_LARGE: readonly Point[] = [
  { name: "128k read qd8", rw: "read", blockKib: 128, depth: 8, unit: "MB/s" },
  { name: "128k write qd8", rw: "write", blockKib: 128, depth: 8, unit: "MB/s" },
  { name: "1m read qd8", rw: "read", blockKib: 1024, depth: 8, unit: "MB/s" },
  { name: "1m write qd8", rw: "write", blockKib: 1024, depth: 8, unit: "MB/s" },
]

/** Of a virtual machine's disk, with everything in the page cache: a guest with one processor, and one with two. */
export const VHOST_POINTS: readonly Point[] = [
  { name: "4k randread qd1", rw: "randread", blockKib: 4, depth: 1, unit: "kIOPS" },
  { name: "4k randwrite qd1", rw: "randwrite", blockKib: 4, depth: 1, unit: "kIOPS" },
  { name: "4k randread qd32", rw: "randread", blockKib: 4, depth: 32, unit: "kIOPS" },
  { name: "4k randwrite qd32", rw: "randwrite", blockKib: 4, depth: 32, unit: "kIOPS" },
  ...VHOST_LARGE,
  ...VHOST_LARGE.map((point) => ({ ...point, name: `${point.name}, 2 queues`, queues: 2 })),
]

/** How many times better `ours` is than `theirs`. */
export function advantage(point: Point, ours: number, theirs: number): number {
  return point.unit === "us" ? theirs / ours : ours / theirs
}

/** Bytes a second, in 10^6; `null` where a latency is compared. */
export function megabytes({ unit, blockKib }: Point, value: number): number | null {
  return unit === "MB/s" ? value : unit === "kIOPS" ? value * blockKib * 1.024 : null
}
