export interface Place {
    /** Equal for what is the same file, disk or export. */
    readonly key: string;
    /** Byte of it at which the path's first byte lies. */
    readonly start: bigint;
}
/** Where the facts come from; tests have their own. */
export interface System {
    readonly sys: string;
    /** The table of a dm device, "8:17", as dmsetup(8) prints it; "" when it cannot be had. */
    readonly table: (number: string) => string;
}
/** `null`: there is nothing at `path`, or it cannot be looked at. */
export declare function placeOf(path: string, { sys, table }?: System): Place | null;
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
}, system?: System): boolean;
