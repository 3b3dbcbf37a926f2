/** The header behind a served volume: read at each unlock, written when a salt was resealed. */
import type { Backend } from "../abi/enclave.ts";
import type { Header, Segment } from "../luks2/types.ts";
/** The header's contents, and where a resealed salt is written. */
export interface HeaderAccess {
    readonly uuid: string;
    readonly label: string;
    /** Read again at each unlock: cryptsetup may have changed keyslots in between. */
    read(): Promise<Header>;
    /** What `read` left out because it is damaged, one clause each. */
    faults?(): readonly string[];
    saveSealed(slot: number, sealed: Uint8Array): Promise<void>;
}
export interface OpenHeader extends HeaderAccess {
    readonly segment: Segment;
    readonly size: bigint;
    /** Whether a passphrase is sealed to some enclave. */
    readonly sealed: boolean;
    /** The header's persistent flag allow-discards, as cryptsetup sets it. */
    readonly discards: boolean;
}
interface HeaderOptions {
    readonly readOnly: boolean;
    readonly backend: Backend;
    /** What is opened at each use; the path when absent, as for NBD. */
    readonly at?: string;
    /** Has the header's NBD export together with the data. */
    readonly owner: object;
    readonly warn: (message: string, facts: Record<string, unknown>) => void;
}
/**
 * Opens the header at `path` for each use and not in between, so that
 * cryptsetup and the key commands can change it while the volume is served.
 * `segment` and `size` (bytes of copies and keyslots) are as they were found now.
 */
export declare function openHeader(path: string, { readOnly, backend, at, owner, warn }: HeaderOptions): Promise<OpenHeader>;
export {};
