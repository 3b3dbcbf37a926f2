/** Numbers of the NBD protocol (doc/proto.md of the NBD project); everything on the wire is big endian. */
import type { Errno } from "../base/io-error.ts";
export declare const NBDMAGIC = 5639144782019643715n;
export declare const IHAVEOPT = 5280542401877725268n;
export declare const OPTION_REPLY_MAGIC = 1100100111001001n;
export declare const REQUEST_MAGIC = 627086611;
export declare const SIMPLE_REPLY_MAGIC = 1732535960;
export declare const STRUCTURED_REPLY_MAGIC = 1720595439;
export declare const Handshake: {
    readonly fixedNewstyle: 1;
    readonly noZeroes: 2;
};
export declare const Option: {
    readonly exportName: 1;
    readonly abort: 2;
    readonly list: 3;
    readonly startTls: 5;
    readonly info: 6;
    readonly go: 7;
    readonly structuredReply: 8;
    readonly listMetaContext: 9;
    readonly setMetaContext: 10;
};
export declare const OptionReply: {
    readonly ack: 1;
    readonly server: 2;
    readonly info: 3;
    readonly metaContext: 4;
    readonly unsupported: 2147483649;
    readonly policy: 2147483650;
    readonly invalid: 2147483651;
    readonly unknown: 2147483654;
    readonly tooBig: 2147483657;
};
export declare const Info: {
    readonly export: 0;
    readonly name: 1;
    readonly blockSize: 3;
};
export declare const Transmission: {
    readonly hasFlags: 1;
    readonly readOnly: 2;
    readonly flush: 4;
    readonly fua: 8;
    readonly trim: 32;
    readonly writeZeroes: 64;
    readonly df: 128;
    readonly multiConn: 256;
    readonly cache: 1024;
};
export declare const Command: {
    readonly read: 0;
    readonly write: 1;
    readonly disc: 2;
    readonly flush: 3;
    readonly trim: 4;
    readonly cache: 5;
    readonly writeZeroes: 6;
    readonly blockStatus: 7;
};
export declare const CommandFlag: {
    readonly fua: 1;
    readonly noHole: 2;
    readonly df: 4;
    readonly reqOne: 8;
};
export declare const Chunk: {
    readonly none: 0;
    readonly offsetData: 1;
    readonly offsetHole: 2;
    readonly blockStatus: 5;
    readonly error: 32769;
    readonly errorOffset: 32770;
};
export declare const CHUNK_DONE = 1;
/** The largest payload of a request or a reply, in bytes; what clients assume who do not ask. */
export declare const MAX_PAYLOAD: number;
/** Holds the longest legal name with room for what goes with it. */
export declare const MAX_OPTION: number;
export declare const MAX_NAME = 4096;
export declare const REQUEST_BYTES = 28;
export declare const BASE_ALLOCATION = "base:allocation";
export declare const errnoNumber: (code: Errno) => number;
/** What a peer sent; numbers that have no name here are EINVAL, as the protocol says. */
export declare function errnoName(value: number): Errno;
