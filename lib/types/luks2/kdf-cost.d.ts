/**
 * Limits of the KDF costs that are run because a header asks for them. A header is
 * anybody's to write, and 2^32-1 iterations would hold the enclave's heap for
 * hours; a keyslot beyond these bounds is tried only when it is named. Pure.
 */
import type { Digest, Kdf } from "./types.ts";
interface Costs {
    readonly kdf: Kdf;
    readonly passphraseKdf: Kdf | null;
}
/** Why a keyslot is not tried unless it is named, as a phrase; `null`: it is. */
export declare function tooCostly({ kdf, passphraseKdf }: Costs, { iterations }: Pick<Digest, "iterations">): string | null;
export {};
