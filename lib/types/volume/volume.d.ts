/**
 * The plaintext side of a volume: byte ranges in and out, ciphertext in a
 * Store, keys in an enclave. Any alignment is served; what is smaller than a
 * sector is read, changed and written under a lock of its range.
 */
import type { Enclave, VolumeHandle } from "../enclave/types.ts";
import { type Store } from "../store/store.ts";
import { SectorBatch } from "./sector-batch.ts";
/** "locked": no key, I/O waits. "failed": no key in time, I/O ends in EIO. */
export type VolumeState = "ready" | "locked" | "failed" | "closing" | "closed";
export interface VolumeCounters {
    /** Requests served, or pieces of large ones. */
    reads: number;
    writes: number;
    flushes: number;
    bytesRead: number;
    bytesWritten: number;
    errors: number;
    /** Requests being served now. */
    pending: number;
}
export interface VolumeOptions {
    readonly store: Store;
    /** Bytes; where the segment starts in the store. */
    readonly offset: number;
    /** Bytes; `null`: to the end of the store. */
    readonly size: number | null;
    readonly sectorSize: 512 | 1024 | 2048 | 4096;
    readonly readOnly?: boolean;
    readonly discards?: boolean;
    /** Limit of the time I/O waits after `lock`; default: none. */
    readonly lockGraceMs?: number | null;
    /** How long I/O waits for a new enclave after the loss of one; default 30 s. */
    readonly lossGraceMs?: number;
    /** How long `close` waits for requests in work, with the keys held; default 10 s. */
    readonly closeGraceMs?: number;
    /** And after that, without keys, for the store to flush, and to close; default 60 s each. */
    readonly flushGraceMs?: number;
}
/** Asked between the steps of a long request: false ends it with ESHUTDOWN. */
export type Wanted = () => boolean;
export declare class Volume {
    #private;
    readonly sectorSize: number;
    readonly readOnly: boolean;
    readonly discards: boolean;
    readonly counters: VolumeCounters;
    /** Starts locked; owns the store from here on. Throws EINVAL when the segment does not fit the store. */
    constructor(options: VolumeOptions);
    get state(): VolumeState;
    /** Bytes of plaintext. */
    get size(): number;
    /** Called at each change of state; returns what ends that. */
    onChange(listener: () => void): () => void;
    /** Gives the key; I/O that waits goes on. An older handle is wiped. */
    unlock(enclave: Enclave, handle: VolumeHandle): void;
    /** Wipes the key, in any state and at once; ciphertext already made is still written. */
    lock(): void;
    /** When the key went with its enclave, in a suspend or a crash: as the next I/O would find. */
    lost(): void;
    /** Rows for `readNow` and `writeNow`. */
    newBatch(): SectorBatch;
    /** Whether a row with this range may be tried with `readNow`, until the next turn of the event loop. */
    readsNow(offset: number, length: number): boolean;
    /** The same for `writeNow`. */
    writesNow(offset: number, length: number): boolean;
    /**
     * Moves what needs no waiting: what is in the page cache, in one entry. False:
     * no row was moved. A row that failed, for whatever reason, is for `read`,
     * which waits, tries again and knows what to say.
     */
    readNow(buffer: ArrayBuffer, batch: SectorBatch): boolean;
    /** The same for writing; what was written is not yet on stable storage. A row that failed is for `write`. */
    writeNow(buffer: ArrayBuffer, batch: SectorBatch): boolean;
    /** Fills `into`, which must not be looked at before this has resolved. */
    readInto(offset: number, into: Uint8Array, wanted?: Wanted): Promise<void>;
    read(offset: number, length: number, wanted?: Wanted): Promise<Buffer>;
    /** `plaintext` must not change until this has resolved. `fua`: resolves when it is on stable storage. */
    write(offset: number, plaintext: Uint8Array, fua?: boolean, wanted?: Wanted): Promise<void>;
    /** Writes encrypted zeros. */
    zero(offset: number, length: number, fua?: boolean, wanted?: Wanted): Promise<void>;
    /** Brings ciphertext into the system's cache, as a later read would; needs no key. */
    cache(offset: number, length: number, wanted?: Wanted): Promise<void>;
    /** Gives whole sectors back; what they read as afterwards is undefined. EPERM unless discards are allowed. */
    discard(offset: number, length: number): Promise<void>;
    /** Bytes written that no flush has covered. */
    get unflushed(): number;
    /** Resolves when every write resolved before is on stable storage. */
    flush(): Promise<void>;
    /** After the store grew; the new size in bytes. A store that shrank is refused with EINVAL. */
    resize(): Promise<number>;
    /**
     * Drains, wipes, flushes: each for a limited time, so that neither a request nor
     * a disk that hangs keeps the keys or the process. I/O that waits for a key ends
     * in ESHUTDOWN. Rejects when data may be lost.
     */
    close(): Promise<void>;
}
