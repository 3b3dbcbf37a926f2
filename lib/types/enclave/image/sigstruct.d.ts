import { type EnclaveConf } from "./conf.ts";
import type { NewSha256 } from "./sgxs.ts";
export declare const SIGSTRUCT_SIZE: number;
/** Modulus, signature, Q1 and Q2. */
export declare const RSA_BYTES = 384;
export interface Sigstruct {
    readonly vendor: number;
    /** YYYYMMDD, as signed. */
    readonly date: string;
    readonly swDefined: number;
    readonly miscSelect: number;
    readonly miscMask: number;
    readonly attributes: bigint;
    readonly attributeMask: bigint;
    readonly xfrm: bigint;
    readonly xfrmMask: bigint;
    readonly mrenclave: string;
    /** SHA-256 of the modulus as stored. */
    readonly mrsigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
    readonly debug: boolean;
}
/** The fields of the SECS that EINIT compares. */
export interface Secs {
    readonly mrenclave: Uint8Array;
    readonly miscSelect: number;
    readonly attributes: bigint;
    readonly xfrm: bigint;
}
export interface EinitCheck {
    /** Stable, for programs. */
    readonly name: string;
    /** What EINIT leaves in RAX when it fails (SDM 3D, 38.x error codes). */
    readonly error: number;
    readonly passed: boolean;
    /** One line: the fact found. Empty when passed. */
    readonly fact: string;
}
export declare const EinitError: {
    readonly sigStruct: 1;
    readonly attribute: 2;
    readonly measurement: 4;
    readonly signature: 8;
};
export interface SigningOptions {
    readonly mrenclave: Uint8Array;
    readonly conf: EnclaveConf;
    /** YYYYMMDD. */
    readonly date: string;
    readonly debug: boolean;
}
/**
 * A SIGSTRUCT that lacks modulus, signature, Q1 and Q2. Its attribute mask is
 * all ones, so the host cannot add DEBUG, PROVISIONKEY or any later bit;
 * XFRM is open only where enclave.conf leaves it open.
 */
export declare function prepare({ mrenclave, conf, date, debug }: SigningOptions): Uint8Array;
/** The 256 bytes that RSASSA-PKCS1-v1_5 with SHA-256 signs. */
export declare function signedBytes(sigstruct: Uint8Array): Uint8Array;
/**
 * Inserts key and signature, both big-endian as OpenSSL and HSMs give them,
 * and computes Q1 and Q2. Throws TresorError when the signature is not one of
 * these bytes under this key.
 */
export declare function attach(prepared: Uint8Array, modulus: Uint8Array, signature: Uint8Array, newSha256: NewSha256): Uint8Array;
/** What lets hardware cube S modulo M without dividing (SDM 3D, 38.13, Q1 and Q2). */
export declare function quotients(signature: bigint, modulus: bigint): {
    readonly q1: bigint;
    readonly q2: bigint;
};
export declare function isSigstruct(bytes: Uint8Array): boolean;
/** Reads the fields without judging them. Throws TresorError for a wrong length. */
export declare function parseSigstruct(bytes: Uint8Array, newSha256: NewSha256): Sigstruct;
/**
 * EINIT's checks in EINIT's order (SDM 3D, EINIT). Without `secs` those that
 * need the enclave are left out. Never throws on content: every failure is a
 * check that did not pass, as the kernel will only say EPERM.
 */
export declare function checkSigstruct(bytes: Uint8Array, newSha256: NewSha256, secs?: Secs | null): EinitCheck[];
