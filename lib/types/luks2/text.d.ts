/**
 * Text that was bytes and has to become the same bytes again. LUKS2 promises
 * UTF-8 nowhere: a byte that is not UTF-8 becomes half a surrogate pair, U+DC80 to
 * U+DCFF, which no text of people's holds (Python's "surrogateescape", PEP
 * 383). Pure.
 */
export declare function bytesToText(bytes: Uint8Array): string;
export declare function textToBytes(text: string): Uint8Array;
