import type { RequestContext, SealedRequest } from "./types.ts";
/** struct tresor_context's values. Throws RangeError for a UUID of more than 39 bytes. */
export declare function contextFields(context: RequestContext): {
    version: number;
    purpose: 1 | 2 | 3 | 4 | 5;
    uuid: NodeJS.NonSharedUint8Array;
    slot: number;
    fresh_slot: number;
    flags: number;
    request: Uint8Array<ArrayBufferLike>;
    nonce: Uint8Array<ArrayBufferLike>;
};
/**
 * Encrypts secrets to the enclave that owns `publicKey` (X25519, 32 bytes),
 * for one use. The secrets stay the caller's to wipe. Throws RangeError for a
 * secret above 8 MiB.
 */
export declare function sealRequest(publicKey: Uint8Array, context: RequestContext, secrets: {
    readonly existing?: Uint8Array;
    readonly fresh?: Uint8Array;
}): Promise<SealedRequest>;
