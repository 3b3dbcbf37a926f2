/** The goals of the data path, as data; and what came of them. Pure. */
import { advantage, type Point } from "./points.ts"

export interface Measured {
  /** In the unit of the point. */
  readonly value: number
  /** CPU seconds of the server per 10^9 bytes moved. */
  readonly cpuPerGb: number
}

/** Medians by contender and point. */
export type Medians = ReadonlyMap<string, ReadonlyMap<string, Measured>>

export interface Verdict {
  readonly goal: string
  readonly point: string
  readonly found: number
  readonly wanted: string
  readonly reached: boolean
}

/** The figures of a contender at the point in question. */
type At = (name: string) => Measured

export interface Goal {
  readonly text: string
  /** Where it is set. */
  readonly applies: (point: Point, at: At) => boolean
  readonly found: (at: At, point: Point) => number
  readonly limit: (point: Point) => number
  readonly better: "more" | "less"
}

export const speed =
  (ours: string, theirs: string): Goal["found"] =>
  (at, point) =>
    advantage(point, at(ours).value, at(theirs).value)

const large = (point: Point) => point.blockKib >= 128

/** With everything in the page cache. */
export const CACHED_GOALS: readonly Goal[] = [
  {
    text: "speed, encrypted, against nbdkit file, unencrypted",
    applies: () => true,
    found: speed("tresor", "nbdkit file"),
    limit: () => 1,
    better: "more",
  },
  ...["nbdkit luks", "qemu-nbd luks"].flatMap((peer): Goal[] => [
    {
      text: `speed against ${peer}`,
      applies: () => true,
      found: speed("tresor", peer),
      limit: (point) => (large(point) ? 4 : 2),
      better: "more",
    },
    {
      text: `server CPU per GB, share of that of ${peer}`,
      applies: () => true,
      found: (at) => at("tresor").cpuPerGb / at(peer).cpuPerGb,
      limit: () => 0.5,
      better: "less",
    },
  ]),
  {
    text: "speed with modelled SGX transitions, share of that without",
    applies: (point) => point.depth > 1,
    found: speed("tresor, transitions", "tresor"),
    limit: (point) => (large(point) ? 0.9 : 0.7),
    better: "more",
  },
  {
    text: "server CPU s/GB above that of nbdkit file",
    applies: large,
    found: (at) => at("tresor").cpuPerGb - at("nbdkit file").cpuPerGb,
    limit: () => 0.15,
    better: "less",
  },
]

const TIMES_LUKS = 3

/** On the disk. */
export const DISK_GOALS: readonly Goal[] = [
  {
    text: "speed, encrypted, against nbdkit file, unencrypted",
    applies: () => true,
    found: speed("tresor", "nbdkit file"),
    limit: () => 1,
    better: "more",
  },
  {
    text: "speed, share of the lower of fio on the raw file and ours in the page cache",
    applies: (point) => point.depth > 1,
    // One socket carries less of 4 KiB than a disk.
    found: (at, point) =>
      Math.max(speed("tresor", "fio, raw file")(at, point), speed("tresor", "tresor, cached")(at, point)),
    limit: () => 0.85,
    better: "more",
  },
  ...["nbdkit luks", "qemu-nbd luks"].map(
    (peer): Goal => ({
      text: `speed against ${peer}`,
      // Where the disk allows it.
      applies: (point, at) => speed("fio, raw file", peer)(at, point) >= TIMES_LUKS,
      found: speed("tresor", peer),
      limit: () => TIMES_LUKS,
      better: "more",
    }),
  ),
  {
    text: "server CPU per GB, share of that of nbdkit file",
    applies: () => true,
    found: (at) => at("tresor").cpuPerGb / at("nbdkit file").cpuPerGb,
    limit: () => 1.3,
    better: "less",
  },
]

/** As a disk of a virtual machine. */
export const VHOST_GOALS: readonly Goal[] = [
  {
    text: "speed, encrypted, against qemu-storage-daemon's raw export",
    applies: () => true,
    found: speed("tresor", "qemu raw"),
    limit: (point) => (large(point) ? 1 : 0.8),
    better: "more",
  },
  {
    text: "speed against qemu-storage-daemon's LUKS export",
    applies: () => true,
    found: speed("tresor", "qemu luks"),
    limit: () => TIMES_LUKS,
    better: "more",
  },
]

/** One verdict per goal and point it is set for; throws when a contender was not measured at a point. */
export function judge(goals: readonly Goal[], points: readonly Point[], medians: Medians): Verdict[] {
  return goals.flatMap((goal) =>
    points.flatMap((point): Verdict[] => {
      const at = (name: string): Measured => {
        const measured = medians.get(name)?.get(point.name)
        if (measured === undefined) throw new Error(`${name} was not measured at ${point.name}`)
        return measured
      }
      if (!goal.applies(point, at)) return []
      const found = goal.found(at, point)
      const limit = goal.limit(point)
      const reached = goal.better === "more" ? found >= limit : found <= limit
      const wanted = `${goal.better === "more" ? ">=" : "<="} ${limit}`
      return [{ goal: goal.text, point: point.name, found, wanted, reached }]
    }),
  )
}
