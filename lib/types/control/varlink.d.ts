/**
 * Varlink (https://varlink.org/Method-Call): JSON objects, each ended by one
 * NUL byte, in both directions of a stream. Framing and message shapes only;
 * sockets are server.ts's and client.ts's.
 */
import * as v from "valibot";
/** Room for an 8 MiB key file, sealed and in base64, and the JSON around it. */
export declare const MESSAGE_LIMIT: number;
declare const callSchema: v.ObjectSchema<{
    readonly method: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.MaxLengthAction<string, 256, undefined>]>;
    readonly parameters: v.OptionalSchema<v.RecordSchema<v.StringSchema<undefined>, v.UnknownSchema, undefined>, {}>;
    readonly oneway: v.OptionalSchema<v.BooleanSchema<undefined>, false>;
    readonly more: v.OptionalSchema<v.BooleanSchema<undefined>, false>;
    readonly upgrade: v.OptionalSchema<v.BooleanSchema<undefined>, false>;
}, undefined>;
declare const replySchema: v.ObjectSchema<{
    readonly parameters: v.OptionalSchema<v.RecordSchema<v.StringSchema<undefined>, v.UnknownSchema, undefined>, {}>;
    readonly continues: v.OptionalSchema<v.BooleanSchema<undefined>, false>;
    readonly error: v.OptionalSchema<v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.MaxLengthAction<string, 256, undefined>]>, undefined>;
}, undefined>;
export type Parameters = Record<string, unknown>;
export type Call = v.InferOutput<typeof callSchema>;
export type Reply = v.InferOutput<typeof replySchema>;
/** What a peer sent is not varlink: the connection has lost its framing and ends. */
export declare class FramingError extends Error {
    readonly name = "FramingError";
}
/** An error reply, on its way out or received. */
export declare class VarlinkError extends Error {
    readonly name = "VarlinkError";
    readonly error: string;
    readonly parameters: Parameters;
    constructor(error: string, parameters?: Parameters);
}
export declare function encodeMessage(message: unknown): Uint8Array;
export declare function decodeCall(frame: Uint8Array): Call;
export declare function decodeReply(frame: Uint8Array): Reply;
/**
 * Cuts a byte stream into frames. Holds at most `limit` bytes of an unfinished
 * one; throws FramingError when a frame is longer or empty.
 */
export declare class FrameReader {
    #private;
    constructor(limit?: number);
    push(chunk: Uint8Array): Generator<Uint8Array>;
    /** True in the middle of a frame. */
    get partial(): boolean;
}
export {};
