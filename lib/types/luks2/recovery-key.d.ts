/**
 * Recovery keys in systemd-cryptenroll's spelling: 32 bytes as 64 modhex
 * letters in eight groups joined by dashes, 71 bytes of text, which is the
 * keyslot's passphrase. Bytes throughout: a key is never a string. Pure.
 */
/** The token that marks a recovery key's keyslot. */
export declare const RECOVERY_TOKEN = "systemd-recovery";
export declare const KEY_SIZE = 32;
export declare const TEXT_SIZE: number;
/** 32 bytes -> 71 bytes of text, the caller's to wipe. Throws RangeError for another size. */
export declare function encodeRecoveryKey(key: Uint8Array): Uint8Array;
/** 71 bytes of text for 256 random bits; the caller's to wipe. */
export declare function makeRecoveryKey(): Uint8Array;
/**
 * What is wrong with a typed recovery key, group by group; empty when it has
 * the form of one. With `expected`, the text it must be, also where it differs.
 * Says where, never what.
 */
export declare function recoveryKeyFaults(typed: Uint8Array, expected?: Uint8Array | null): readonly string[];
/**
 * The canonical text of a key typed in any case, with or without dashes and
 * spaces; `null` if it is not one. The caller wipes both.
 */
export declare function normalizeRecoveryKey(typed: Uint8Array): Uint8Array | null;
