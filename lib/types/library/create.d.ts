import { type FreshOptions } from "./keeper.ts";
import { type TrustOptions, type WorldOptions } from "./options.ts";
import { type CreatedVolume, type LayoutOptions } from "./plan.ts";
export interface CreateOptions extends LayoutOptions, FreshOptions, TrustOptions, WorldOptions {
    /** Wiped by the call. At least one byte, at most 8 MiB. */
    readonly passphrase: Uint8Array;
    /** 0 to 31; default 0. */
    readonly keySlot?: number;
    /** A keyslot for a recovery key, which any machine's cryptsetup opens; default true. */
    readonly recovery?: boolean;
    /**
     * Given the recovery key (71 bytes of text, wiped afterwards) when all is made and nothing is written: what rejects
     * here leaves no volume. Without it the key is returned.
     */
    readonly onRecoveryKey?: (key: Uint8Array) => Promise<void>;
}
export interface Created extends CreatedVolume {
    /** Text of the recovery key, the caller's to deliver and to wipe; `null`: none was made, or `onRecoveryKey` had it. */
    readonly recoveryKey: Uint8Array | null;
}
/**
 * Makes a LUKS2 volume whose volume key the enclave makes and keeps. Throws TresorError, among others: TARGET_EXISTS,
 * VOLUME_IN_USE (exit 5), SIZE_MISSING, PASSPHRASE_EMPTY, KDF_TOO_WEAK (exit 1), DEVICE_TOO_SMALL (exit 4). A file made
 * here is removed when it fails. LUKS2 On-Disk Format Specification 1.1.
 *
 * @example
 * const { uuid, recoveryKey } = await create("disk.img", { size: 1n << 30n, passphrase })
 */
export declare function create(path: string, options: CreateOptions): Promise<Created>;
