import type { Segment } from "../luks2/types.ts";
/**
 * A detached header that is taken for the volume, or one that lies in what it
 * describes: the first write would destroy it. Throws HEADER_IN_DATA (exit 4).
 */
export declare function checkApart({ path, header }: {
    readonly path: string;
    readonly header: string | null;
}, { offset, size }: Segment, headerSize: bigint): void;
