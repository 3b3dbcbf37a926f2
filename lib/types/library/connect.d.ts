import type { VolumeStatus } from "../control/volume.ts";
import type { VolumeClient } from "../control/volume-client.ts";
import { type TrustOptions, type WorldOptions } from "./options.ts";
export interface UnlockOptions extends Pick<TrustOptions, "trust">, WorldOptions {
    /** Only this keyslot, 0 to 31. */
    readonly keySlot?: number;
    /** The passphrase is for mappings of 2016's flow; the tresord must not choose that. */
    readonly legacy?: boolean;
}
/** Closing it leaves the tresord as it is. Every call throws CONTROL_LOST (exit 4) when the tresord ends in between. */
export declare class RunningVolume implements AsyncDisposable {
    #private;
    readonly name: string;
    constructor(name: string, client: VolumeClient);
    status(): Promise<VolumeStatus>;
    /** The status now and after each change of state, until the tresord ends. */
    watch(): AsyncGenerator<VolumeStatus, void>;
    /**
     * Seals the passphrase, which is wiped, to the tresord's enclave once that is trusted. Throws ENCLAVE_PASSPHRASE,
     * ATTEST_… (exit 2), PURPOSE_REFUSED (exit 1).
     */
    unlock(passphrase: Uint8Array, options?: UnlockOptions): Promise<VolumeStatus>;
    /** The key is wiped; I/O waits for the next `unlock`. */
    lock(): Promise<void>;
    /** Ends the tresord and waits for that. Throws VOLUME_IN_USE (exit 5) while clients are connected, unless `force`. */
    stop({ force }?: {
        readonly force?: boolean;
    }): Promise<void>;
    close(): void;
    [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Connects to the tresord that serves `name` for this user. Throws NOT_OPEN, VOLUME_DEAD (exit 4), IMPOSTOR (exit 2) when
 * somebody else answers at its socket.
 *
 * @example
 * await using work = await connect("work")
 * await work.unlock(passphrase, { trust: "policy.json" })
 */
export declare function connect(name: string): Promise<RunningVolume>;
