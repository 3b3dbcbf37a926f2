import type { Backend } from "../abi/enclave.ts";
import type { Identity } from "./judge/policy.ts";
export declare const LOCAL = "local";
export interface Known {
    /** From 1. */
    readonly line: number;
    readonly host: string;
    readonly backend: Backend;
    readonly mrenclave: string;
    readonly mrsigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
}
/** What is pinned of an enclave. */
export type Seen = Omit<Identity, "debug"> & {
    readonly backend: Backend;
};
export declare const knownEnclavesPath: () => string;
/** Throws TresorError KNOWN_ENCLAVES_BAD naming the line: half a list would be asked about as a first contact. */
export declare function parseKnown(text: string, path: string): Known[];
export declare const formatKnown: (host: string, seen: Seen) => string;
/** The name an enclave is known under. A space or # would change what the line says. */
export declare function hostName(remote: string | undefined): string;
export type Recognition = {
    readonly kind: "known" | "upgraded" | "changed";
    readonly entry: Known;
} | {
    readonly kind: "unknown";
};
/**
 * "upgraded": another image by the same signer, same product, ISVSVN no lower.
 * A "mrsigner" seal opens for the same enclaves. "changed": the host is
 * known, and by something else only; a step from SGX down to the software
 * backend is such a change.
 */
export declare function recognise(known: readonly Known[], host: string, seen: Seen): Recognition;
/** The text with `seen` in it, in place of what it upgrades; every other line as it was. */
export declare function withPin(text: string, host: string, seen: Seen, path: string): string;
export declare const readKnown: (path: string) => Known[];
/** Adds or upgrades. Throws the system's errors. */
export declare function pin(path: string, host: string, seen: Seen): void;
