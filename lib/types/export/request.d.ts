export interface Request {
    readonly type: number;
    readonly flags: number;
    readonly cookie: bigint;
    /** Not exact past 2^53, where no export reaches. */
    readonly offset: number;
    readonly length: number;
}
/** What a request is checked against. */
export interface ExportFacts {
    readonly size: number;
    readonly readOnly: boolean;
    readonly trims: boolean;
    readonly structured: boolean;
    /** base:allocation was asked for. */
    readonly allocation: boolean;
}
/** The header at `at`. `null`: not a request, so the stream has lost its framing. */
export declare function parseRequest(bytes: DataView, at: number): Request | null;
/** Bytes that follow the header. */
export declare const payloadOf: ({ type, length }: Request) => number;
/** Bytes of plaintext that the request or its reply holds. */
export declare const costOf: ({ type, length }: Request) => number;
/** Throws IoError with what the protocol answers to a request that is not to be tried. */
export declare function checkRequest({ type, flags, offset, length }: Request, facts: ExportFacts): void;
