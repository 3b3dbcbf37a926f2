import { type Decoded, type Encodable, type Struct } from "../abi/struct.ts";
/** Host address of a buffer's first byte; the buffer must be kept alive meanwhile. */
export type AddressOf = (bytes: Uint8Array) => bigint;
export interface Placed {
    readonly address: bigint;
    /** A view of the arena. */
    readonly bytes: Uint8Array;
}
/** Where a request's buffers are put. */
export interface Arena {
    /** Zeroed room. Throws RangeError beyond the room asked for. */
    reserve(size: number): Placed;
    place(bytes: Uint8Array): Placed;
}
type RequestStruct = Struct<any>;
export declare class Request<S extends RequestStruct> implements Arena {
    #private;
    /** `room`: bytes for everything that will be placed, each rounded up to 8. */
    constructor(struct: S, room: number, addressOf: AddressOf);
    reserve(size: number): Placed;
    place(bytes: Uint8Array): Placed;
    /** Fills the struct in; returns the bytes to enter with. */
    fill(op: number, fields: Encodable<S>): Uint8Array;
    result(): Decoded<S>;
    wipe(): void;
    static sizeOf(...sizes: readonly number[]): number;
}
export {};
