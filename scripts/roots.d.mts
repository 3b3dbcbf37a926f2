/** Types of roots.mjs for test/package. */
export declare function makeRoot(suite: string, packages?: readonly string[]): string
export declare const UBUNTU: string
