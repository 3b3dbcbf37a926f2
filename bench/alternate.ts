/** Contenders measured by turns, point by point and round by round, so that what disturbs the machine disturbs all. */
import type { Point } from "./points.ts"
import type { Row } from "./report.ts"
import { summarize } from "./statistics.ts"

/** Of one run. */
export interface Sample {
  /** In the unit of the point. */
  readonly value: number
  /** CPU seconds per 10^9 bytes: of the server, and of the client. */
  readonly cpuPerGb: number
  readonly clientCpuPerGb: number
  /** Microseconds. */
  readonly p99: number
}

export interface Measurable {
  readonly name: string
  readonly measure: (point: Point) => Promise<Sample>
}

export async function alternate(
  contenders: readonly Measurable[],
  points: readonly Point[],
  rounds: number,
  progress: (text: string) => void,
): Promise<Row[]> {
  const samples = new Map<string, Sample[]>()
  for (let round = 1; round <= rounds; round++) {
    for (const point of points) {
      for (const { name, measure } of contenders) {
        progress(`round ${round} of ${rounds}: ${point.name}, ${name}`)
        const key = `${name}/${point.name}`
        samples.set(key, [...(samples.get(key) ?? []), await measure(point)])
      }
    }
  }
  return contenders.flatMap(({ name }) =>
    points.map((point): Row => {
      const of = (field: keyof Sample) =>
        summarize(samples.get(`${name}/${point.name}`)!.map((sample) => sample[field]))
      return {
        contender: name,
        point: point.name,
        unit: point.unit,
        value: of("value"),
        cpuPerGb: of("cpuPerGb"),
        clientCpuPerGb: of("clientCpuPerGb"),
        p99: of("p99"),
      }
    }),
  )
}
