import type { LuksHeader, Metadata } from "./metadata.ts";
/** Bytes an area takes for a volume key of `keySize` bytes. */
export declare function areaSize(keySize: number): bigint;
/** First and last byte (exclusive) of the keyslots area. */
export declare function keyslotsArea(header: LuksHeader): {
    readonly offset: bigint;
    readonly end: bigint;
};
/**
 * The first gap of `size` bytes between the areas in use, foreign ones too.
 * Throws LUKS2_AREA_FULL (exit 4).
 */
export declare function findGap(header: LuksHeader, size: bigint): bigint;
/**
 * The keyslot number for a new passphrase: `wanted`, or the first free one.
 * Throws KEYSLOT_TAKEN (exit 1) or KEYSLOTS_FULL (exit 1).
 */
export declare function freeSlot(metadata: Metadata, wanted: number | null): number;
