/** Without byte order mark, surrounding white space, and the NULs that end a C string. */
export declare function bare(text: string): string;
/** A saved answer: its headers (those of a proxy or redirect in front of it too), and the body. */
export declare function splitAnswer(bytes: Uint8Array): {
    readonly headers: string;
    readonly body: Uint8Array;
};
/** DER that stands as text: hex, with 0x or without, or base64; quoted or not. `null` when it is none. */
export declare function derOfText(text: string): Uint8Array | null;
/** A CRL as a bundle gives it: PEM too. Throws Refusal. */
export declare function crlBytes(what: string, text: string): Uint8Array;
