import { type FileHandle } from "node:fs/promises";
import type { LockMode } from "./header-lock.ts";
import { type Store } from "./store.ts";
export interface FileStoreOptions {
    readonly readOnly?: boolean;
    readonly direct?: boolean;
    /**
     * "all": it is claimed for as long as it is open (claim.ts), a block device with O_EXCL as well. "device": a block device with
     * O_EXCL only. "none": others may have it too, as while a command changes the header of a volume in use.
     */
    readonly claim?: "all" | "device" | "none";
    /** What is opened instead of the path, which is only named then. */
    readonly at?: string;
}
/** Linux opens a write-protected block device for writing (BLKROGET says so) and fails each write. Throws EROFS. */
export declare function checkWritable(handle: FileHandle): Promise<void>;
/** Bytes of an open file or block device. Throws EINVAL for anything else. */
export declare function fileSize(handle: FileHandle): Promise<number>;
export declare class FileStore implements Store {
    #private;
    readonly discards = true;
    readonly readOnly: boolean;
    readonly path: string;
    private constructor();
    /**
     * Rejects with Node's errors (EBUSY: mounted, or claimed by another program), EINVAL for what is neither a
     * regular file nor a block device, EROFS; or with TresorError STORE_BUSY.
     */
    static open(path: string, { readOnly, direct, claim, at }?: FileStoreOptions): Promise<FileStore>;
    /** A flush failed: what was written since the one before may be lost, whoever wrote it. */
    get failed(): boolean;
    get size(): number;
    get fd(): number | null;
    read(offset: number, into: Uint8Array): Promise<void>;
    write(offset: number, from: Uint8Array): Promise<void>;
    /**
     * The system tells of pages it could not write once, and forgets them: a later
     * fdatasync(2) that succeeds says nothing of them. So this one is the last.
     */
    flush(): Promise<void>;
    /** Punches a hole, rounded inwards to the device's blocks; a filesystem that has none keeps its blocks. */
    discard(offset: number, length: number): Promise<void>;
    refresh(): Promise<number>;
    locked<T>(mode: LockMode, work: () => Promise<T>): Promise<T>;
    close(): Promise<void>;
}
