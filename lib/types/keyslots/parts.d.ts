/** Arguments that every operation on a volume's keyslots takes. */
import type { Asked } from "../enclave/asked.ts";
import type { Enclave, SealedRequest, SealPolicy } from "../enclave/types.ts";
import type { HeaderStore } from "../header/header-store.ts";
import type { LuksArea } from "../luks2/metadata.ts";
import type { Kdf, KeyslotParameters } from "../luks2/types.ts";
import type { Made } from "./made.ts";
export interface Secrets {
    readonly existing?: Uint8Array;
    readonly fresh?: Uint8Array;
}
/** Encrypts secrets to an enclave that has been assessed, for what is asked only. The secrets stay the caller's to wipe. */
export type Seal = (asked: Asked, secrets: Secrets) => Promise<SealedRequest>;
export interface Keeper {
    readonly enclave: Enclave;
    readonly seal: Seal;
}
export interface VolumeKeeper extends Keeper {
    readonly store: HeaderStore;
    /** What people call the volume, in messages. */
    readonly path: string;
}
/** What opens a volume: any keyslot, or the one named. */
export interface Proof {
    readonly secret: Uint8Array;
    readonly slot: number | null;
}
/**
 * The keyslot of a new secret. "tresor": KDF over a salt sealed to this
 * machine; "portable": one that cryptsetup opens; "recovery": 256 random bits,
 * for which any KDF will do.
 */
export type FreshKeyslot = {
    readonly secret: Uint8Array;
    readonly slot: number | null;
} & ({
    readonly type: "tresor";
    readonly kdf: Kdf;
    readonly policy: SealPolicy;
    readonly made?: Made;
} | {
    readonly type: "portable";
    readonly kdf: Kdf;
} | {
    readonly type: "recovery";
    readonly adopted?: boolean;
});
/** cryptsetup's default for keyslots, whatever the volume key. */
export declare const AREA_KEY_SIZE = 64;
export declare const AF_HASH = "sha256";
export declare function freshParameters(fresh: FreshKeyslot, slot: number, keySize: 32 | 64, area: Pick<LuksArea, "offset" | "size">): KeyslotParameters;
/** Seal policy of a request that makes no seal: the enclave wants one named. */
export declare function sealPolicy(fresh: FreshKeyslot): SealPolicy;
