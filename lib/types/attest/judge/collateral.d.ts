import { type Crl, type X509 } from "./certificates.ts";
/** A JSON text as it was signed, byte for byte, and r || s. */
export interface Signed {
    readonly text: string;
    readonly signature: Uint8Array;
}
export interface Collateral {
    readonly certificates: readonly X509[];
    readonly crls: readonly Crl[];
    readonly tcbInfos: readonly Signed[];
    readonly qeIdentities: readonly Signed[];
    /** What was found and cannot be used, a fact each; told when something is missing. */
    readonly unusable: readonly string[];
}
/**
 * The text of the object that is the value of `key` in the outermost object of
 * `json`, exactly as it stands there. `null` when there is none.
 */
export declare function innerObject(json: string, key: string): string | null;
/** That the collateral has no `what`, and what it might have been. */
export declare function missing(what: string, { unusable }: Pick<Collateral, "unusable">): string;
/** One JSON object with all pieces as strings. Throws Refusal. */
export declare function parseBundle(text: string): Collateral;
/**
 * The files of a folder: PCS bodies (JSON with "tcbInfo" or
 * "enclaveIdentity"), CRLs as DER, PEM, hex or base64, chains as PEM or as the
 * percent-encoded headers they come in (a saved header block or the output of
 * `curl -i` will do), bundles. Throws Refusal.
 */
export declare function parseFiles(files: ReadonlyMap<string, Uint8Array>): Collateral;
