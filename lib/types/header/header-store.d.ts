import { type Copy } from "../luks2/binary-header.ts";
import type { LuksHeader } from "../luks2/metadata.ts";
import type { Store } from "../store/store.ts";
export interface AreaWrite {
    readonly offset: bigint;
    readonly bytes: Uint8Array;
}
export interface HeaderChange {
    readonly header: LuksHeader;
    /** Written and synced before the header refers to them. */
    readonly writeAreas?: readonly AreaWrite[];
    /** Overwritten once the header that no longer refers to them is on stable storage. */
    readonly wipeAreas?: readonly {
        readonly offset: bigint;
        readonly size: bigint;
    }[];
}
export interface UpdateOptions {
    /** Every keyslot goes: nothing in the header can be worth keeping it. */
    readonly destroys?: boolean;
    /** `change` asks for no passphrase. */
    readonly unproved?: boolean;
}
export declare class HeaderStore {
    #private;
    /** Copies that were broken or old when the header was opened. */
    readonly stale: readonly Copy[];
    private constructor();
    /**
     * Reads both copies and writes nothing: a copy that is broken may be what
     * another program has put there. Throws LUKS2_AMBIGUOUS (exit 4) when it is.
     */
    static open(device: Store): Promise<HeaderStore>;
    /** Writes a header where none is to be kept; areas first. */
    static format(device: Store, header: LuksHeader, areas: readonly AreaWrite[]): Promise<HeaderStore>;
    get header(): LuksHeader;
    reload(): Promise<LuksHeader>;
    /**
     * Rewrites stale copies from the very header that was agreed to; which ones
     * were. Only `check --repair` does, after it has asked.
     */
    repair(): Promise<readonly Copy[]>;
    /** Key material of a keyslot as on disk, bytes: keySize * stripes rounded up to 512. */
    readArea(slot: number): Promise<Uint8Array>;
    /**
     * Changes the header as it is now. `change` may take its time (a KDF): the
     * lock is held, so that nobody else's change is lost.
     */
    update(change: (header: LuksHeader) => Promise<HeaderChange>, { destroys, unproved }?: UpdateOptions): Promise<LuksHeader>;
    close(): Promise<void>;
}
/** What a header says when a copy is broken: one clause and the way out. */
export declare const brokenWords: (path: string, stale: readonly Copy[]) => string;
