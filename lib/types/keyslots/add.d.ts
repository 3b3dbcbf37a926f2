import type { FreshKeyslot, Proof, VolumeKeeper } from "./parts.ts";
export interface Added {
    readonly slot: number;
    /** The keyslot that opened with the existing passphrase. */
    readonly proved: number;
}
/**
 * Adds keyslots for new secrets, proved by an existing one in each of the
 * sealed requests. One change of the header: all of them or none, and none when
 * `beforeWriting` rejects, which is called when all are made.
 */
export declare function addKeyslots(keeper: VolumeKeeper, proof: Proof, fresh: readonly FreshKeyslot[], beforeWriting?: () => Promise<void>): Promise<readonly Added[]>;
export declare function addKeyslot(keeper: VolumeKeeper, proof: Proof, fresh: FreshKeyslot): Promise<Added>;
