/**
 * How often a property is tried. The unit tests try a part, to end within a
 * minute; the integration tests run the files that import this once more, in full.
 */
export const FULL = process.env["TRESOR_TEST_RUNS"] === "full"

/** `full` runs, or `short` of them. */
export function runs(full: number, short: number): number {
  return FULL ? full : short
}
