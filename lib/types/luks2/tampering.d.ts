/**
 * A header that Tresor cannot have written. The MACs show every change to
 * whoever has a passphrase; these changes show without one, and they are the
 * ones that make another program write plaintext, or for another's key
 * (CVE-2025-59054): nobody is sent to another program with such a header. Pure.
 */
import type { Metadata } from "./metadata.ts";
import type { Hash } from "./types.ts";
/** One the enclave has. */
export declare const isHash: (text: string) => text is Hash;
/** Bytes of a volume key the enclave takes. */
export declare const isKeySize: (size: number) => size is 32 | 64;
export interface Tampering {
    /** One clause. */
    readonly fact: string;
    /** Whether it cannot be the owner's choice: the volume has a Tresor token. */
    readonly certain: boolean;
}
/** Why the enclave cannot open the data of a volume, as one clause; `null` when it can. */
export declare function unsupported(metadata: Metadata): string | null;
/**
 * What the owner's programs would not have written; `null` when there is no
 * such thing. A Tresor passphrase is made only on a volume the enclave opens,
 * so beside a Tresor token, however damaged, everything else is another's work.
 * Without one, only a cipher that encrypts nothing is told.
 */
export declare function tampering(metadata: Metadata): Tampering | null;
/** What follows "Cannot open disk.img: ". */
export declare function tamperingWords({ fact, certain }: Tampering): string;
/** Throws LUKS2_TAMPERED (exit 4). `doing`: "open disk.img". */
export declare function checkTampering(metadata: Metadata, doing: string): void;
