/**
 * JSON from bytes that are not ours. JSON.parse keeps the last of two equal
 * names, other parsers the first: text that two programs may read in two ways
 * is refused instead (docs/decisions/0043-duplicate-names.md). Pure.
 */
/** JSON, but not text that everybody reads in the same way. The message is a predicate: "has the name … twice". */
export declare class AmbiguousJson extends SyntaxError {
    readonly name = "AmbiguousJson";
}
/** What is wrong with a text that parseJson refused, as a predicate. */
export declare function jsonFault(error: unknown): string;
/** JSON.parse, less what is ambiguous. Throws SyntaxError; AmbiguousJson for equal names in one object. */
export declare function parseJson(text: string, depth?: number): unknown;
/** `at`: the opening quote; returns the index after the closing one. */
export declare function endOfString(text: string, at: number): number;
