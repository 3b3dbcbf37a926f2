/**
 * Why no keyslot opened: a sealed salt that did not, with what differs by name,
 * or a keyslot that was not tried. The blob itself says who sealed it
 * (docs/format.md, "The sealed salt"); the enclave decides, this only explains. Pure.
 */
import type { EnclaveIdentity } from "../enclave/types.ts";
import type { Header } from "../luks2/types.ts";
/** "keyslot 0", "keyslots 0, 2": what a person looks up in `tresor key list`. */
export declare function nameSlots(slots: readonly number[]): string;
/** Keyslots that are not tried unless they are named, each with the reason. */
export declare function untried({ keyslots, digest }: Header): string | null;
/**
 * An enclave's refusal to unseal, or a wrong passphrase while a keyslot could
 * not be tried, as one line with the way out; the same code and exit code.
 * Anything else is returned as it is.
 */
export declare function explainUnlock(error: unknown, header: Header, identity: EnclaveIdentity, path: string): unknown;
