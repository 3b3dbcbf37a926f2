import type { Enclave, HeaderFacts, SealedRequest, VolumeHandle } from "../enclave/types.ts";
import type { HeaderAccess } from "../header/access.ts";
import type { Header } from "../luks2/types.ts";
export interface Unlocking {
    readonly enclave: Enclave;
    readonly access: HeaderAccess;
    /** What people call the volume, and where it lies. */
    readonly name: string;
    readonly path: string;
    /** An unlock went well although something is to be told. */
    readonly warn: (message: string, facts: Record<string, unknown>) => void;
}
export interface OpenedKey extends HeaderFacts {
    /** The caller's to give to a volume, or to close. */
    readonly handle: VolumeHandle;
    readonly slot: number;
    /** Whether the header has MACs. */
    readonly authenticated: boolean;
    readonly resealed: Uint8Array | null;
}
/** The header with the keyslots that are tried. Throws KEYSLOT_COSTLY (exit 2), KEYSLOT_MISSING (exit 1). */
export declare function withAdmitted({ access, name }: Unlocking, header: Header, { slot, unsealed }: {
    readonly slot: number | null;
    readonly unsealed: boolean;
}): Header;
/**
 * Has the enclave open the volume key. Throws as the enclave decides, KEYSLOT_UNTRIED (exit 2), and
 * HEADER_KEYSLOT_CHANGED (exit 4): then no handle is left.
 */
export declare function unlockKey({ enclave, access, name, path, warn }: Unlocking, header: Header, sealed: SealedRequest): Promise<OpenedKey>;
/** Writes a salt sealed anew to the header. The old seal still opens, so a header that cannot be written now does not stop the unlock. */
export declare function saveResealed({ access, warn }: Unlocking, { slot, resealed }: OpenedKey): Promise<void>;
