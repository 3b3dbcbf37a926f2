/** Bytes of attestation evidence. Runs in a browser as in Node; no node: imports. */
export { fromHex, toHex } from "../../base/hex.ts";
export type Bytes = Uint8Array<ArrayBuffer>;
export declare function concat(...parts: readonly Uint8Array[]): Bytes;
/** Public values only: not constant-time. */
export declare function equal(a: Uint8Array, b: Uint8Array): boolean;
export declare function isZero(bytes: Uint8Array): boolean;
export declare function viewOf(bytes: Uint8Array): DataView;
export declare function sha256(bytes: Uint8Array): Promise<Bytes>;
/** ECDSA on P-256 with SHA-256. `point` is 04 || x || y, `signature` r || s, big-endian. */
export declare function verifyP256(point: Uint8Array, data: Uint8Array, signature: Uint8Array): Promise<boolean>;
