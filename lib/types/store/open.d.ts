import { type NbdStoreOptions } from "./nbd-store.ts";
import type { Store } from "./store.ts";
export interface OpenStoreOptions {
    readonly readOnly: boolean;
    /** O_DIRECT; means nothing to an NBD server. */
    readonly direct: boolean;
    /** Opened instead of the path, if the path is not a URI. */
    readonly at?: string;
    /** Of an NBD export, which stores of one owner share. */
    readonly owner?: object;
    /** Called when connections to an NBD server are lost and made again. */
    readonly log?: NbdStoreOptions["log"];
}
/**
 * A regular file, a block device (taken exclusively) or an NBD export. Throws
 * TresorError: STORE_MISSING, STORE_DENIED, STORE_BUSY, STORE_UNFIT, STORE_TOO_SMALL,
 * STORE_UNREACHABLE, NBD_URI.
 */
export declare function openStore(path: string, { readOnly, direct, at, owner, log }: OpenStoreOptions): Promise<Store>;
