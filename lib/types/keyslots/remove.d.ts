import type { Metadata } from "../luks2/metadata.ts";
import type { VolumeKeeper } from "./parts.ts";
export interface Removed {
    readonly slot: number;
    /** Keyslots that still open the volume. */
    readonly remaining: readonly number[];
    /** Whether all that remain are sealed to this machine. */
    readonly boundToMachine: boolean;
}
/** Whether nothing but this machine opens the volume. */
export declare function boundToMachine(metadata: Metadata): boolean;
/** What can be known without a passphrase. Throws KEYSLOT_INACTIVE, or KEYSLOT_LAST unless `force` (exit 1). */
export declare function checkRemovable(metadata: Metadata, path: string, { slot, force }: {
    readonly slot: number | null;
    readonly force: boolean;
}): void;
/**
 * Destroys keyslot `slot`, or the one that `secret` opens. Any passphrase of
 * the volume proves. Throws KEYSLOT_LAST (exit 1) unless `force`.
 */
export declare function removeKeyslot(keeper: VolumeKeeper, secret: Uint8Array, { slot, force }: {
    readonly slot: number | null;
    readonly force: boolean;
}): Promise<Removed>;
