/** Types of test-failures.mjs for the tests. */
export declare function describeFailures(
  failures: readonly { readonly place: string; readonly name: string; readonly error: string }[],
): string
export declare function lastLines(text: string): string
