import type { Kdf } from "../luks2/types.ts";
/** Milliseconds the KDF takes on this machine for an output of 32 bytes. */
export type Benchmark = (kdf: Kdf) => Promise<number>;
export interface KdfRequest {
    readonly type: "argon2id" | "argon2i" | "pbkdf2";
    /** Most memory of Argon2, KiB; less where the machine has less, as with cryptsetup. */
    readonly memoryKib: number | null;
    readonly lanes: number | null;
    /** Instead of measuring. */
    readonly iterations: number | null;
    /** Milliseconds to aim at; `null`: not measured for a tresor keyslot, 2000 for a portable one. */
    readonly timeMs: number | null;
}
export interface KdfLimits {
    /** Most memory a KDF may have here, KiB. */
    readonly memoryKib: number;
    readonly cpus: number;
}
/** KDF of a sealed keyslot: as asked for, else the default; measured only when a time is given. Throws KDF_TOO_WEAK (exit 1). */
export declare function tresorKdf(request: KdfRequest, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf>;
/** KDF of a keyslot that cryptsetup opens: as cryptsetup would choose it. Throws KDF_TOO_WEAK (exit 1). */
export declare function portableKdf(request: KdfRequest, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf>;
