import { type Removed } from "../keyslots/remove.ts";
import { type SlotStrength } from "../keyslots/strength.ts";
import { type FreshOptions } from "./keeper.ts";
import { type TrustOptions, type WorldOptions } from "./options.ts";
export interface KeyslotsOptions extends TrustOptions, WorldOptions {
    /** Path of a detached header. */
    readonly header?: string;
}
export interface NewKeyslot extends FreshOptions {
    /** Any passphrase of the volume; wiped by the call. */
    readonly existing: Uint8Array;
    /** The new one; wiped by the call. */
    readonly fresh: Uint8Array;
    /** The keyslot of `existing`, 0 to 31; default: those that open are looked for. */
    readonly keySlot?: number;
    /** The new keyslot, 0 to 31; default: the first free one. */
    readonly newKeySlot?: number;
}
/**
 * Every change is one crash-safe change of the header, under cryptsetup's lock. All throw TresorError: ENCLAVE_PASSPHRASE
 * (exit 2), KEYSLOT_TAKEN, KEYSLOTS_FULL (exit 1), LUKS2_TAMPERED (exit 4).
 */
export declare class Keyslots {
    #private;
    readonly path: string;
    constructor(path: string, options: KeyslotsOptions);
    /** Keyslots of the volume key, and what it takes to guess their passphrases from a copy of the disk. */
    list(): Promise<readonly SlotStrength[]>;
    /** The keyslot that opens with `passphrase`, which is wiped; nothing is written. */
    test(passphrase: Uint8Array, keySlot?: number | null): Promise<number>;
    /** Adds a keyslot; returns its number. */
    add(options: NewKeyslot): Promise<number>;
    /** Adds a keyslot for the new passphrase and destroys the one of the existing. */
    change(options: NewKeyslot): Promise<{
        readonly slot: number;
        readonly removed: number;
    }>;
    /**
     * Destroys keyslot `keySlot`, or the one that `passphrase` opens; any passphrase of the volume proves, and is wiped. Throws
     * KEYSLOT_LAST (exit 1) for the last one, unless `force`.
     */
    remove(passphrase: Uint8Array, { keySlot, force }?: {
        readonly keySlot?: number | null;
        readonly force?: boolean;
    }): Promise<Removed>;
}
/**
 * The keyslots of the volume at `path`, once its header could be read. Throws as the header: STORE_MISSING, NOT_LUKS,
 * LUKS2_BROKEN (exit 4).
 *
 * @example
 * await (await keyslots("disk.img")).add({ existing, fresh, portable: true })
 */
export declare function keyslots(path: string, options?: KeyslotsOptions): Promise<Keyslots>;
