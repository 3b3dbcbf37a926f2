import type { Store } from "../store/store.ts";
export interface HeaderStoreOptions {
    readonly readOnly: boolean;
    /** A block device is taken with O_EXCL, which fails for one that is mounted or mapped. */
    readonly exclusive?: boolean;
    /** The command has --readonly, which may be advised. */
    readonly readonlyHelps?: boolean;
    /** Opened instead of the path, if the path is not a URI. */
    readonly at?: string;
    /** Of an NBD export, which the volume's data have with it. */
    readonly owner?: object;
}
/** A file or block device; rejects with Node's errors, or TresorError NOT_A_DEVICE (exit 4). */
export declare function openFile(path: string, { readOnly, exclusive, at }: Pick<HeaderStoreOptions, "readOnly" | "exclusive" | "at">): Promise<Store>;
/** Throws TresorError: NOT_A_DEVICE, and those of store/open-error.ts. The volume on it may be in use. */
export declare function openForHeader(path: string, options: HeaderStoreOptions): Promise<Store>;
