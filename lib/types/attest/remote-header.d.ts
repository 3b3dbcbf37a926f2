/** Checks a header from another machine before the client seals a passphrase for it. */
import type { PublicHeader } from "../luks2/types.ts";
interface Where {
    readonly name: string;
    /** As given to --remote. */
    readonly host: string;
    /** Hears what is remembered. */
    readonly tell: (line: string) => void;
}
/**
 * Throws, exit 2: HEADER_UNAUTHENTICATED, KEYSLOT_WEAK, HEADER_CHANGED,
 * KNOWN_VOLUMES_BAD. What it returns remembers a header that is new; call it once
 * the passphrase has opened it.
 */
export declare function checkRemoteHeader(header: PublicHeader, where: Where): Promise<() => void>;
export {};
