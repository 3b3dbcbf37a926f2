import type { Store } from "../store/store.ts";
export interface Target {
    readonly path: string;
    readonly kind: "new" | "file" | "device" | "nbd";
    /** Bytes it has, or will have. */
    readonly size: bigint;
    /** Whether the file is to be made that long. */
    readonly truncate: boolean;
    /** Physical sector, where one is known. */
    readonly sectorSize: number | null;
}
/**
 * Looks at where a volume is to go and changes nothing. `size` is what was
 * asked for; without it, all there is. Throws TARGET_EXISTS (exit 5) without
 * `force`, TARGET_UNFIT (exit 4) for what holds no volume, SIZE_MISSING and
 * SIZE_FIXED (exit 1).
 */
export declare function examineTarget(path: string, { size, force }: {
    readonly size: bigint | undefined;
    readonly force: boolean;
}): Promise<Target>;
/** Makes or sizes the file of `target`, and runs `work` on it; a file made here goes when that fails or is interrupted. */
export declare function withTarget<T>(target: Target, work: (device: Store) => Promise<T>): Promise<T>;
