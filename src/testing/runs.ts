/**
 * How often a property is tried. The unit tests try a part, to end within a
 * minute; the integration tests run the files that import this once more, in full.
 * TRESOR_TEST_RUNS may be a number too: so often at least.
 */
const asked = process.env["TRESOR_TEST_RUNS"]

export const FULL = asked !== undefined

/** `full` runs, or `short` of them. */
export function runs(full: number, short: number): number {
  return FULL ? Math.max(full, Number(asked) || 0) : short
}
