/** The goals of the data path, as data; and what came of them. Pure. */
import type { ContenderName } from "./contenders.ts"
import { advantage, POINTS, type Point } from "./points.ts"

export interface Measured {
  /** In the unit of the point. */
  readonly value: number
  /** CPU seconds of the server per 10^9 bytes moved. */
  readonly cpuPerGb: number
}

/** Medians by contender and point. */
export type Medians = ReadonlyMap<ContenderName, ReadonlyMap<string, Measured>>

export interface Verdict {
  readonly goal: string
  readonly point: string
  readonly found: number
  readonly wanted: string
  readonly reached: boolean
}

interface Goal {
  readonly text: string
  readonly applies: (point: Point) => boolean
  readonly found: (at: (name: ContenderName) => Measured, point: Point) => number
  readonly limit: (point: Point) => number
  readonly better: "more" | "less"
}

const speed =
  (ours: ContenderName, theirs: ContenderName): Goal["found"] =>
  (at, point) =>
    advantage(point, at(ours).value, at(theirs).value)

const large = (point: Point) => point.blockKib >= 128

const GOALS: readonly Goal[] = [
  {
    text: "speed, encrypted, against nbdkit file, unencrypted",
    applies: () => true,
    found: speed("tresor", "nbdkit file"),
    limit: () => 1,
    better: "more",
  },
  ...(["nbdkit luks", "qemu-nbd luks"] as const).flatMap((peer): Goal[] => [
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

/** One verdict per goal and point it is set for; throws when a contender was not measured at a point. */
export function judge(medians: Medians): Verdict[] {
  return GOALS.flatMap((goal) =>
    POINTS.filter(goal.applies).map((point) => {
      const at = (name: ContenderName): Measured => {
        const measured = medians.get(name)?.get(point.name)
        if (measured === undefined) throw new Error(`${name} was not measured at ${point.name}`)
        return measured
      }
      const found = goal.found(at, point)
      const limit = goal.limit(point)
      const reached = goal.better === "more" ? found >= limit : found <= limit
      return {
        goal: goal.text,
        point: point.name,
        found,
        wanted: `${goal.better === "more" ? ">=" : "<="} ${limit}`,
        reached,
      }
    }),
  )
}
