import { type FileHandle } from "node:fs/promises";
/**
 * Before a regular file is opened for writing. Throws STORE_BUSY when a program that
 * takes no locks has it open for writing: nbdkit, a loop device, an editor. `at` is what is opened, `path` its name.
 */
export declare function refuseWriters(at: string, path: string): Promise<void>;
/**
 * Claims an open file or block device until the returned handles and `handle` are
 * closed. Throws TresorError STORE_BUSY (exit 5).
 */
export declare function claimStore(path: string, handle: FileHandle, write: boolean): Promise<FileHandle[]>;
export interface ClaimPathOptions {
    readonly write: boolean;
    /** What was left behind by a tresord that was killed, and is ours, writes already. */
    readonly leftBehind: boolean;
}
/** Claims what others will open: the kernel, for a mapping. Resolves with what lets it go. Throws STORE_BUSY. */
export declare function claimPath(path: string, { write, leftBehind }: ClaimPathOptions): Promise<() => Promise<void>>;
