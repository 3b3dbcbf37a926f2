/**
 * The client's side of the protocol as generators: each yields the buffer that is
 * to be filled next. Fixed newstyle, NBD_OPT_GO, structured replies where the
 * server has them, for without them nothing can go wrong after a read's first
 * byte, and servers read all of it before they send any. Pure.
 */
import { IoError } from "../base/io-error.ts";
export interface Export {
    /** Bytes. */
    readonly size: number;
    /** `Transmission`. */
    readonly flags: number;
    /** Bytes; offsets and lengths are to be multiples of it. */
    readonly minimumBlock: number;
    /** Bytes of the longest request. */
    readonly maximumBlock: number;
    readonly structured: boolean;
}
/** A request that has no answer yet. */
export declare class Pending {
    #private;
    /** It is a write, or changes the export otherwise: the server may do it as long as the connection lives. */
    readonly changes: boolean;
    readonly offset: number;
    /** Where the data of a read goes; empty for another request. */
    readonly into: Uint8Array;
    readonly resolve: () => void;
    readonly reject: (error: IoError) => void;
    error: IoError | null;
    constructor(offset: number, into: Uint8Array, resolve: () => void, reject: (error: IoError) => void, changes?: boolean);
    /** Where `size` bytes at `offset` of the export belong; `null`: not into this read, or some of them came before. */
    place(offset: number, size: number): Uint8Array | null;
    /** All of a read has come, each byte once: a count of bytes would let a server leave out what it sends twice. */
    get complete(): boolean;
    settle(): void;
}
type Wanted<T> = Generator<Uint8Array, T, void>;
/** The server does not keep to the protocol: asking it again would not help. */
export declare class ProtocolError extends IoError {
    constructor(what: string);
}
/** `send` is called with what goes to the server. Throws IoError. */
export declare function negotiate(exportName: string, send: (bytes: Buffer) => void): Wanted<Export>;
/**
 * Settles what is pending, by cookie, as it is answered; `progress` is called for
 * each sign the server gives. Never returns; throws IoError when it cannot go on.
 */
export declare function replies(structured: boolean, pending: Map<number, Pending>, progress: () => void): Wanted<never>;
export {};
