import { type EnclaveConf } from "./conf.ts";
import { type Measurement } from "./sgxs.ts";
export interface Build {
    readonly conf: EnclaveConf;
    readonly measurement: Measurement;
}
/** Reads what was built below `root`. */
export declare function measureBuild(root: string, files?: import("./files.ts").ImageFiles): Build;
/** Today, or the day SOURCE_DATE_EPOCH names, as YYYYMMDD. */
export declare function signingDate(): string;
/**
 * The key that signs what is built here: the checkout's own where there is one, else one for all checkouts of
 * this user, in the state directory. A volume sealed for its signer opens in the next clone too.
 */
export declare function signerPath(root: string): string;
/** The key of this checkout alone, where there is one: another checkout's enclave opens nothing that is sealed for it. */
export declare function ownSigner(root: string): string | null;
/** Brings the SIGSTRUCT up to date with the image, making the key when there is none. */
export declare function signBuild(root: string, files?: import("./files.ts").ImageFiles): Build & {
    readonly mrenclave: string;
    readonly signed: boolean;
};
/** First line of the compiler's --version: the same source gives the same image only under the same compiler. */
export declare function compilerId(): string;
/** Lines "<compiler id> <64 hex digits>"; # starts a comment. */
export declare function parsePins(text: string): ReadonlyMap<string, string>;
export interface Pinned {
    readonly compiler: string;
    /** `null`: nothing is pinned for this compiler. */
    readonly pinned: string | null;
    readonly measured: string;
}
/** Compares the built image with what its MRENCLAVE file says for the compiler at hand. */
export declare function checkPinned(root: string, files?: import("./files.ts").ImageFiles): Pinned;
