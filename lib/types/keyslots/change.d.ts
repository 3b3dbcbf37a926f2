import type { FreshKeyslot, Proof, VolumeKeeper } from "./parts.ts";
export interface Changed {
    /** The new passphrase's keyslot. */
    readonly slot: number;
    /** The keyslot that was destroyed. */
    readonly removed: number;
}
/**
 * Replaces the keyslot that `proof` opens. The new one lies in an area of its
 * own, one header names it instead of the old, and the old area is wiped only
 * after that header is on stable storage.
 */
export declare function changeKeyslot(keeper: VolumeKeeper, proof: Proof, fresh: FreshKeyslot): Promise<Changed>;
