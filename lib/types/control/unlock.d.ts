/** Giving a passphrase to a tresord that waits: what the client admits, seals and sends. */
import type { TrustedEnclave } from "../attest/trusted-enclave.ts";
import { type VolumeStatus } from "./volume.ts";
import type { VolumeClient } from "./volume-client.ts";
/** Whether the passphrase is for what the tresord serves: it must not choose that. */
export declare function checkKind({ name, cipher }: VolumeStatus, legacy: boolean): void;
export interface UnlockRequest {
    readonly keySlot: number | null;
    /** Also keyslots that are not sealed to the enclave. */
    readonly unsealed: boolean;
    /** The passphrase is for a mapping of 2016's flow. */
    readonly legacy: boolean;
    /** Another machine, as given to --remote, which says what the header is; `null`: this one. */
    readonly host: string | null;
    /** Hears what is remembered of another machine's header. */
    readonly tell: (line: string) => void;
}
/**
 * Seals `passphrase` to the assessed enclave of the tresord behind `client` and has it unlock. The passphrase stays the
 * caller's to wipe. Rejects as the enclave decides (ENCLAVE_PASSPHRASE, exit 2), and with KEYSLOT_UNSEALED,
 * CONTROL_PROTOCOL, and what checkRemoteHeader throws.
 */
export declare function unlockWith({ client, enclave, status, }: {
    readonly client: VolumeClient;
    readonly enclave: TrustedEnclave;
    readonly status: VolumeStatus;
}, passphrase: Uint8Array, { keySlot, unsealed, legacy, host, tell }: UnlockRequest): Promise<VolumeStatus>;
