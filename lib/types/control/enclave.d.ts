import type { Askable } from "../attest/trusted-enclave.ts";
import type { VolumeStatus } from "./volume.ts";
import type { VolumeClient } from "./volume-client.ts";
export interface FirstContact {
    readonly status: VolumeStatus;
    /** The enclave that `status` speaks of. */
    readonly enclave: Askable;
}
/**
 * One round trip: what the volume is, and a report for a nonce of our own, made
 * here and now. The report is kept for that nonce alone; for any other, or for
 * a target, the tresord is asked again.
 */
export declare function askVolume(client: VolumeClient): Promise<FirstContact>;
