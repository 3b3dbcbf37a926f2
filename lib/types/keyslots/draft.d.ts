/**
 * A header that is being changed: what was read, what the enclave made, what
 * is to be written and wiped. Nothing touches the device before
 * HeaderStore.update takes `change()`.
 */
import { TresorError } from "../base/errors.ts";
import type { EnclaveIdentity } from "../enclave/types.ts";
import type { HeaderChange, HeaderStore } from "../header/header-store.ts";
import type { ForeignToken, LuksHeader, LuksKeyslot, Metadata } from "../luks2/metadata.ts";
import { type TresorToken } from "../luks2/tresor-token.ts";
import type { Header, HeaderMacs, KeyslotParameters, MadeKeyslot } from "../luks2/types.ts";
import { type FreshKeyslot, type Keeper, type Proof, type VolumeKeeper } from "./parts.ts";
export declare function luksKeyslot(parameters: KeyslotParameters, made: MadeKeyslot): LuksKeyslot;
/** The token that goes with a new keyslot; a portable one has none. */
export declare function freshToken(fresh: FreshKeyslot, slot: number, made: MadeKeyslot, identity: EnclaveIdentity, mac: HeaderMacs): TresorToken | ForeignToken | null;
export declare class Draft {
    #private;
    constructor(header: LuksHeader, areas: ReadonlyMap<number, Uint8Array>, path: string);
    /** Reads the areas of the keyslots that hold the volume key. */
    static read(store: HeaderStore, header: LuksHeader, path: string): Promise<Draft>;
    get header(): LuksHeader;
    get metadata(): Metadata;
    set metadata(metadata: Metadata);
    /** The volume key's size in bytes. */
    get keySize(): 32 | 64;
    enclaveHeader(tried: (slot: number) => boolean): Header;
    /**
     * Keyslots a passphrase may open: the one named, else all but those of
     * priority 0 and those that would take hours. Throws KEYSLOT_INACTIVE (exit 1),
     * KEYSLOT_MISSING (exit 1) or KEYSLOT_COSTLY (exit 2).
     */
    slotsToTry(named: number | null): readonly number[];
    /** The header with the keyslots marked that `proof` may open. */
    tried(proof: Proof): Header;
    /** Proves `proof` and makes a keyslot for `fresh`. Returns the new keyslot's number and the one that opened. */
    enrol({ enclave, seal }: Keeper, proof: Proof, fresh: FreshKeyslot): Promise<{
        readonly slot: number;
        readonly proved: number;
    }>;
    /**
     * Proves that `secret` opens one of `slots` and that the segment is the one
     * authenticated; no key stays in the enclave. Returns the keyslot that opened.
     */
    prove({ enclave, seal }: Keeper, secret: Uint8Array, slots: readonly number[]): Promise<number>;
    /** Drops a keyslot; its area is wiped once the header without it is on stable storage. */
    remove(slot: number): void;
    /** A keyslot takes over another's place in the order in which keyslots are tried. */
    inheritPriority(from: number, to: number): void;
    change(): HeaderChange;
    /** What a new volume is formatted with. */
    get writes(): readonly {
        readonly offset: bigint;
        readonly bytes: Uint8Array;
    }[];
}
/**
 * Runs `work` on the header as it is now, under the exclusive lock, and writes
 * what came of it in one step: all of it or nothing.
 */
export declare function edit<T>({ store, path }: VolumeKeeper, work: (draft: Draft) => Promise<T>): Promise<T>;
export declare function inactive(slot: number): TresorError;
