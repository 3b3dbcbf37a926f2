export interface Place {
    /** Equal for what is the same file, disk or export. */
    readonly key: string;
    /** Byte of it at which the path's first byte lies. */
    readonly start: bigint;
}
/** `null`: there is nothing at `path`, or it cannot be looked at. */
export declare function placeOf(path: string): Place | null;
/** Whether two paths are one, also where nothing is yet. */
export declare function isSamePath(a: string, b: string): boolean;
/** Whether two ranges of bytes share one; `null` is "to the end". Unknown places are taken for different ones. */
export declare function overlap(a: {
    readonly path: string;
    readonly offset: bigint;
    readonly size: bigint | null;
}, b: {
    readonly path: string;
    readonly offset: bigint;
    readonly size: bigint | null;
}): boolean;
