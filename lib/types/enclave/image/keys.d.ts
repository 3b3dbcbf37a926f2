/** Enclave signing keys: RSA-3072 with exponent 3, as SIGSTRUCT demands, in PEM files. */
import { type KeyObject } from "node:crypto";
import type { NewSha256 } from "./sgxs.ts";
export declare const newSha256: NewSha256;
/** Makes a key file of mode 0600. False when one is there already; it is never replaced. */
export declare function generateSigner(path: string): boolean;
export declare function loadSigner(path: string): KeyObject;
/** Of a public key, a private key or a certificate in PEM. 384 bytes, big-endian. */
export declare function loadModulus(path: string): Uint8Array;
export declare function modulusOf(key: KeyObject): Uint8Array;
/** RSASSA-PKCS1-v1_5 with SHA-256; 384 bytes, big-endian. */
export declare function signBytes(key: KeyObject, bytes: Uint8Array): Uint8Array;
