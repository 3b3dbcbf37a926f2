import type { NbdTarget } from "../nbd/uri.ts";
import { type Store } from "./store.ts";
export interface NbdStoreOptions {
    readonly readOnly?: boolean;
    /** Stores of one owner may have one export: data and header of a volume. Absent: nobody shares. */
    readonly owner?: object;
    /** How long requests wait for a server that went away. */
    readonly lossGraceMs?: number;
    /** A server silent so long over a request counts as gone. */
    readonly timeoutMs?: number;
    /** Unflushed writes kept; at this many bytes the store flushes by itself. */
    readonly journalBytes?: number;
    /** The URI it was named by; default: the server's address and the export's name. */
    readonly path?: string;
    /** Called when connections are lost and made again. */
    readonly log?: (message: string, facts: Record<string, unknown>) => void;
}
export declare class NbdStore implements Store {
    #private;
    readonly path: string;
    readonly fd: null;
    readonly readOnly: boolean;
    readonly discards: boolean;
    /** Offsets and lengths of what the server is asked are multiples of it. */
    readonly minimumBlock: number;
    private constructor();
    /**
     * Rejects with Node's error when nobody listens; IoError when the export is not fit, EPERM when it is
     * read-only; TresorError STORE_BUSY when another tresord has it.
     */
    static open(target: NbdTarget, options?: NbdStoreOptions): Promise<NbdStore>;
    /** Writing has ended until it is opened again. */
    get failed(): boolean;
    get size(): number;
    read(offset: number, into: Uint8Array): Promise<void>;
    write(offset: number, from: Uint8Array): Promise<void>;
    flush(): Promise<void>;
    discard(offset: number, length: number): Promise<void>;
    /** NBD tells the size at the start of a connection only: one that knows the old size is given up. */
    refresh(): Promise<number>;
    /** An export has no lock file: cryptsetup cannot reach it either. */
    locked<T>(_mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T>;
    close(): Promise<void>;
}
