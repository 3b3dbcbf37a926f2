/** Replies as they go on the wire, without the data of a read. Pure. */
import type { IoError } from "../base/io-error.ts";
export declare function optionReply(option: number, type: number, data?: Uint8Array): Buffer;
export declare const SIMPLE_BYTES = 16;
/** Of the header in front of read data. */
export declare const READ_CHUNK_BYTES = 28;
/** The whole reply; `error` 0: the request succeeded, and a read's data follows. */
export declare function putSimpleReply(bytes: DataView, at: number, cookie: bigint, error: number): void;
/** Goes in front of `length` bytes read at `offset`; `done`: nothing more follows for the request. */
export declare function putReadChunk(bytes: DataView, at: number, cookie: bigint, offset: number, length: number, done: boolean): void;
export declare function simpleReply(cookie: bigint, error: IoError | null): Buffer;
/** Goes in front of the last `length` bytes of a read, which lie at `offset`. */
export declare function readChunk(cookie: bigint, offset: number, length: number): Buffer;
export declare function errorChunk(cookie: bigint, error: IoError): Buffer;
/** One extent of data: ciphertext does not tell what is empty. */
export declare function statusChunk(cookie: bigint, context: number, length: number): Buffer;
