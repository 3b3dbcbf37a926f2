import { type Copy } from "./binary-header.ts";
import type { LuksHeader } from "./metadata.ts";
/** What a copy says, and its JSON area's text. */
export interface DecodedCopy {
    readonly header: LuksHeader;
    readonly json: string;
}
/**
 * `whole`: a copy, binary header and JSON area, whose binary header could be read. Throws TresorError LUKS2_INVALID
 * (exit 4), LUKS2_BROKEN when its checksum does not hold.
 */
export declare function decodeCopy(whole: Uint8Array, copy: Copy, offset: number): Promise<DecodedCopy>;
/**
 * The header at the beginning of a device or file: its first copy. `bytes`: the first 4 MiB, or as many as the header has.
 * The second copy, and which of the two counts, is header/copies.ts' business. Throws TresorError NOT_LUKS, LUKS1,
 * LUKS2_BROKEN, LUKS2_INVALID (exit 4).
 *
 * @example
 * const { uuid, metadata } = await decodeHeader(bytes)
 */
export declare function decodeHeader(bytes: Uint8Array): Promise<LuksHeader>;
