/** Options that the calls of the library share. */
import type { Backend } from "../abi/enclave.ts";
import type { Surroundings } from "../attest/surroundings.ts";
import type { Audience, EnclaveChoice } from "./keeper.ts";
export interface TrustOptions {
    /** Default "auto": SGX where this machine offers it, else software; never a fallback from a refused SGX. */
    readonly backend?: Backend | "auto";
    /**
     * Path of a policy file that the enclave must satisfy before a passphrase is sealed to it. Without one, this
     * installation's own enclave is trusted, and those pinned in known-enclaves.
     */
    readonly trust?: string;
}
export interface WorldOptions {
    /** Asked about an enclave that is not known; absent: it is refused (ATTEST_UNKNOWN, exit 2). */
    readonly ask?: Surroundings["ask"];
    /** Hears of what is no reason to stop, a line each. */
    readonly warn?: (line: string) => void;
}
export declare const choiceOf: ({ backend, trust }: TrustOptions) => EnclaveChoice;
export declare function audienceOf({ ask, warn }: WorldOptions): Audience;
