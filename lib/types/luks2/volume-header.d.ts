/** A LUKS2 header as the enclave takes it: what it can open, in the order cryptsetup would try. Pure. */
import type { Backend } from "../abi/enclave.ts";
import { TresorError } from "../base/errors.ts";
import type { LuksHeader } from "./metadata.ts";
import type { Header } from "./types.ts";
/** A mandatory requirement we do not know, or one that only cryptsetup can meet. */
export declare function unmet({ metadata }: LuksHeader): TresorError;
/** Keyslots of the volume key that cryptsetup opens and the enclave does not, one clause each. */
export declare function unsupportedKeyslots({ metadata }: LuksHeader): readonly string[];
/**
 * `areas`: key material by keyslot, as on disk. `tried`: whether the passphrase
 * is tried on a keyslot. Throws as checkSupported.
 */
export declare function enclaveHeader(header: LuksHeader, areas: ReadonlyMap<number, Uint8Array>, tried: (slot: number) => boolean): Header;
/** Keyslots that are tried when none is named: priority 0 is left out, and what would take hours. */
export declare function triedByDefault({ metadata }: LuksHeader): (slot: number) => boolean;
/**
 * A token that was sealed by hardware keeps the volume off the software
 * backend: nothing is silently downgraded. Throws BACKEND_REFUSED (exit 4).
 */
export declare function requireBackend({ metadata }: LuksHeader, backend: Backend, path: string): void;
