import type { Digest, Header, Kdf, KeyslotParameters, PublicHeader, Segment } from "../luks2/types.ts";
import type { RequestContext, SealPolicy } from "./types.ts";
/** A request about a header: which keyslots are tried is in it. */
interface AskedOfHeader {
    readonly header: Header | PublicHeader;
    /** The only keyslot that may be tried; `null`: all that are marked. */
    readonly slot: number | null;
}
export type Asked = {
    readonly purpose: "create";
    readonly uuid: string;
    readonly segment: Segment;
    readonly digest: Pick<Digest, "hash" | "iterations">;
    readonly fresh: KeyslotParameters;
    readonly policy: SealPolicy;
} | (AskedOfHeader & {
    readonly purpose: "unlock" | "authenticate";
}) | (AskedOfHeader & {
    readonly purpose: "enrol";
    readonly fresh: KeyslotParameters;
    readonly policy: SealPolicy;
}) | {
    readonly purpose: "legacy";
    readonly uuid: string;
    readonly kdf: Kdf;
    readonly make: SealPolicy | null;
};
/** The context of a sealed request, less the nonce. */
export type RequestBinding = Omit<RequestContext, "nonce">;
/** What a sealed request for this is bound to. */
export declare function bindingOf(asked: Asked): Promise<RequestBinding>;
/**
 * SHA-256 that names a header whichever of its keyslots are tried: what a client
 * remembers of a volume on another machine.
 */
export declare function headerDigest(header: Header | PublicHeader): Promise<Uint8Array>;
/** Which keyslots a passphrase is tried on: the one named, else those marked; unsealed ones when admitted. */
export declare function admitted<K extends {
    readonly slot: number;
    readonly tried: boolean;
    readonly passphraseKdf: Kdf | null;
}>(keyslots: readonly K[], { slot, unsealed }: {
    readonly slot: number | null;
    readonly unsealed: boolean;
}): K[];
export {};
