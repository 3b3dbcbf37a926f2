import type { Backend } from "../abi/enclave.ts";
import type { Surroundings } from "../attest/surroundings.ts";
import type { Enclave, SealPolicy } from "../enclave/types.ts";
import { HeaderStore } from "../header/header-store.ts";
import { type KdfRequest } from "../keyslots/kdf.ts";
import type { FreshKeyslot, Keeper, VolumeKeeper } from "../keyslots/parts.ts";
export interface EnclaveChoice {
    readonly backend: Backend | "auto";
    /** Path of a policy file; absent: by known-enclaves. */
    readonly policy?: string;
}
/** Who hears of what, and is asked. */
export interface Audience extends Pick<Surroundings, "ask" | "tell"> {
    /** What is wrong with a header and no reason to stop: one line each. */
    readonly warn: (line: string) => void;
}
/** An enclave that has been assessed, and what seals to it. Throws as openEnclave and TrustedEnclave.assess. */
export declare function withEnclave<T>(choice: EnclaveChoice, world: Pick<Surroundings, "ask" | "tell">, work: (keeper: Keeper) => Promise<T>): Promise<T>;
/** Where a volume's header lies: on the volume, or in the file of a detached one. */
export interface HeaderPlace {
    readonly path: string;
    readonly header: string | undefined;
}
/** The header at `place`, open while `work` runs. */
export declare function withHeader<T>({ path, header }: HeaderPlace, { readOnly, warn }: {
    readonly readOnly: boolean;
    readonly warn: Audience["warn"];
}, work: (store: HeaderStore) => Promise<T>): Promise<T>;
/** Header and enclave: what every keyslot operation takes. Throws LUKS2_TAMPERED (exit 4). */
export declare function withKeeper<T>(place: HeaderPlace, choice: EnclaveChoice, audience: Audience, work: (keeper: VolumeKeeper) => Promise<T>): Promise<T>;
/** How a new passphrase is kept. */
export interface FreshOptions {
    /** cryptsetup opens it too, on any machine; else it is sealed to this machine's enclave. */
    readonly portable?: boolean;
    /** Who may unseal: this exact image ("mrenclave"), or later versions by its signer ("mrsigner", the default). */
    readonly sealPolicy?: SealPolicy;
    /** What is not given is chosen as cryptsetup does. */
    readonly kdf?: Partial<KdfRequest>;
}
/** The keyslot a new passphrase gets, its KDF measured where that is asked for or cryptsetup would. Throws KDF_TOO_WEAK (exit 1). */
export declare function freshKeyslot(enclave: Enclave, { portable, sealPolicy, kdf }: FreshOptions, { secret, slot }: Pick<FreshKeyslot, "secret" | "slot">): Promise<FreshKeyslot>;
