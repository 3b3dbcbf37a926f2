/** The objects of a header that are kept and not used, by name. Pure. */
import type { Metadata } from "./metadata.ts";
import type { Fault } from "./reader.ts";
export interface NamedFault extends Fault {
    /** "keyslot 3", "token 0 of keyslots 0, 1". */
    readonly name: string;
}
export declare function faultsOf({ keyslots, digests, tokens }: Metadata): readonly NamedFault[];
/** "keyslot 3 cannot be used: keyslots.3.kdf.salt is not base64". */
export declare const faultWords: ({ name, fact }: NamedFault) => string;
