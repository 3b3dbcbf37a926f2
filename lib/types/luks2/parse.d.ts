/**
 * JSON area -> Metadata, with every rule of the LUKS2 On-Disk Format
 * Specification 1.1 (chapter 3) that cryptsetup checks. A keyslot, digest or
 * token that passes these and that we still cannot use is kept as it is, with
 * its fault; the others go on working (docs/decisions/0044). Pure.
 */
import { TresorError } from "../base/errors.ts";
import type { Metadata } from "./metadata.ts";
/** LUKS2_INVALID (exit 4). */
export declare function invalid(fact: string): TresorError;
/**
 * `json`: the JSON area's text; `headerSize`: bytes of binary header and JSON
 * area. Throws LUKS2_INVALID (exit 4) naming the field.
 */
export declare function parseMetadata(json: string, headerSize: number): Metadata;
