import type { Proof, VolumeKeeper } from "./parts.ts";
/** Tests a passphrase; nothing is written. Returns the keyslot that opened. */
export declare function proveKeyslot(keeper: VolumeKeeper, proof: Proof): Promise<number>;
