/** The product's types as the fields of abi/enclave.h, and back. Pure. */
import * as abi from "../abi/enclave.ts";
import { type Encodable } from "../abi/struct.ts";
import type { Digest, Header, HeaderMacs, Kdf, KeyslotParameters, PublicHeader, PublicKeyslot, Segment } from "../luks2/types.ts";
import type { SealPolicy } from "./types.ts";
export declare const SEALED_SIZE: number;
export declare function kdfFields(kdf: Kdf): Encodable<typeof abi.kdf>;
export declare function segmentFields(segment: Segment): Encodable<typeof abi.segment>;
export declare function digestFields(digest: Digest): Encodable<typeof abi.digest>;
/** Of a digest the enclave is to make. */
export declare function freshDigestFields({ hash, iterations }: Pick<Digest, "hash" | "iterations">): {
    hash: 1 | 2 | 3 | 4 | 5;
    iterations: number;
    salt_size: number;
    digest_size: number;
};
/** Of a keyslot on disk; `area` and `sealed` are the request's. */
export declare function keyslotFields(slot: PublicKeyslot): Encodable<typeof abi.keyslot>;
/** Of a keyslot the enclave is to make. */
export declare function freshKeyslotFields(slot: KeyslotParameters): Encodable<typeof abi.keyslot>;
/** What of a header a client may see. */
export declare function publicHeader({ uuid, segment, digest, keyslots, macs }: Header): PublicHeader;
export declare function encodeMacs(macs: HeaderMacs): Uint8Array;
export declare function decodeMacs(bytes: Uint8Array): HeaderMacs;
/** Bit mask -> keyslot numbers. */
export declare function slotsOf(mask: number): number[];
export declare function encodePublicHeader(header: PublicHeader): Uint8Array;
/** A passphrase of 2016's flow on the control socket: u32 make, u32 policy, struct tresor_kdf. */
export declare function encodeLegacyParameters(kdf: Kdf, make: SealPolicy | null): Uint8Array;
/** Throws RangeError for anything `encodeLegacyParameters` does not write. */
export declare function decodeLegacyParameters(bytes: Uint8Array): {
    readonly kdf: Kdf;
    readonly make: SealPolicy | null;
};
/** Throws RangeError for anything `encodePublicHeader` does not write. */
export declare function decodePublicHeader(bytes: Uint8Array, uuid: string): PublicHeader;
