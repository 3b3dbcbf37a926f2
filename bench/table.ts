/** One of the tables that `npm run bench` makes. */
import type { StageOptions } from "./contenders.ts"
import type { Goal } from "./goals.ts"
import type { Point } from "./points.ts"
import type { Row } from "./report.ts"

export interface RunOptions {
  readonly rounds: number
  /** Of one run. */
  readonly milliseconds: number
  /** Another checkout of Tresor to be measured too. */
  readonly beside: string | null
  /** Takes what ends all that was started, for an interrupt. */
  readonly stopping: (stop: () => Promise<void>) => void
}

export interface Table {
  /** Of its files, and of its place in docs/performance.md. */
  readonly name: string
  readonly title: string
  /** What holds in each run: one clause. */
  readonly condition: string
  readonly points: readonly Point[]
  readonly goals: readonly Goal[]
  /** Unless told otherwise. */
  readonly rounds: number
  readonly measure: (stage: StageOptions, run: RunOptions) => Promise<Row[]>
}
