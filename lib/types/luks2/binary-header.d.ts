/**
 * The 4096-byte binary header (LUKS2 On-Disk Format Specification 1.1, chapter
 * 2), with the checksum over itself and the JSON area. Pure: hashes by WebCrypto.
 */
import { TresorError } from "../base/errors.ts";
export declare const BINARY_HEADER = 4096;
/** Bytes of binary header and JSON area; also where a second copy may begin. */
export declare const HEADER_SIZES: number[];
export type Copy = "primary" | "secondary";
export interface BinaryHeader {
    readonly headerSize: number;
    readonly sequenceId: bigint;
    readonly label: string;
    readonly subsystem: string;
    readonly uuid: string;
}
/** What is at the start of a device: `null` for LUKS2's magic and version. */
export declare function notLuks2(bytes: Uint8Array, path: string): TresorError | null;
/**
 * What the first 4096 bytes of a copy claim, before its checksum is known to
 * hold. Returns the fact that rules it out as a string. `offset`: where it lies.
 */
export declare function readBinaryHeader(bytes: Uint8Array, copy: Copy, offset: number): BinaryHeader | string;
/** Whether the checksum of a whole copy (binary header and JSON area) holds. */
export declare function checksumHolds(whole: Uint8Array): Promise<boolean>;
/** Text of the JSON area: one object from its first byte on, then NUL to the end. Throws Odd. */
export declare function jsonText(whole: Uint8Array): string;
/**
 * A whole copy. Throws LUKS2_METADATA_FULL (exit 4) when the JSON does not fit,
 * RangeError for a text that does not fit its field.
 */
export declare function encodeCopy(header: BinaryHeader, json: string, copy: Copy): Promise<Uint8Array>;
