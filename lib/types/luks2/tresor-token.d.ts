/**
 * The token of a Tresor passphrase (docs/format.md), and what the sealed salt in
 * it says of who sealed it and for what. Pure.
 */
import { type Backend, type SealPolicy } from "../abi/enclave.ts";
import { type Extensible } from "./json.ts";
import { type Fields } from "./json-text.ts";
import type { Reader } from "./reader.ts";
import type { Kdf } from "./types.ts";
export declare const TRESOR_TOKEN = "tresor";
declare const VERSION = 1;
export interface TresorToken extends Extensible {
    readonly type: typeof TRESOR_TOKEN;
    readonly keyslots: readonly number[];
    readonly version: typeof VERSION;
    readonly kdf: Kdf;
    /** struct tresor_sealed_salt. */
    readonly sealed: Uint8Array;
    readonly enclave: {
        readonly mrsigner: string;
        readonly mrenclave: string;
        readonly isvProdId: number;
        readonly isvSvn: number;
        readonly policy: SealPolicy;
        readonly backend: Backend;
    };
    readonly mac: {
        readonly segment: Uint8Array;
        readonly keyslots: ReadonlyMap<number, Uint8Array>;
    };
}
/** Whether a token of any kind is a usable one of ours; a damaged one has the type and is foreign. */
export declare function isTresorToken(token: {
    readonly type: string;
}): token is TresorToken;
/** Throws Odd for a token that is damaged, or of a version to come. */
export declare function parseTresorToken(reader: Reader, keyslots: readonly number[]): TresorToken;
/** What follows type and keyslots. */
export declare function tresorMembers({ version, kdf, sealed, enclave, mac }: TresorToken): Fields;
/** What a sealed salt says in clear. Anybody can have written it: good for telling a person why it does not open. */
export interface Sealer {
    readonly mrenclave: string;
    readonly mrsigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
    /** What it was sealed for. */
    readonly slot: number;
    readonly uuid: string;
}
export declare function sealerOf(sealed: Uint8Array): Sealer;
export {};
