import type { Metadata } from "../luks2/metadata.ts";
/**
 * Copies the header on `path` to the new file `file`, mode 0400. Where a copy is broken or old, both are made
 * anew of the one that counts. Throws BACKUP_EXISTS (exit 5), and as openForHeader and readCopies. Returns the metadata saved.
 */
export declare function backupHeader(path: string, file: string): Promise<Metadata>;
export interface RestoreOptions {
    /** Although it is another volume's, its data begin elsewhere, or it was tampered with. */
    readonly force: boolean;
    /** The header is detached. */
    readonly detached: boolean;
    /** Directory for the old header while the new one is written; it stays there when that fails. */
    readonly putAside: string;
    /** Called when all was checked and nothing is written; rejects to leave it so. `replaces`: a LUKS2 header is there. */
    readonly agree?: (what: {
        readonly replaces: boolean;
    }) => Promise<void>;
    /** 0 to 1. */
    readonly progress?: (fraction: number) => void;
}
/**
 * Writes the header saved in `file` to `path`. Throws, exit 4: BACKUP_DAMAGED, UUID_DIFFERS, OFFSET_DIFFERS,
 * HEADER_DETACHED, DEVICE_TOO_SMALL, LUKS2_TAMPERED, RESTORE_FAILED; and as openForHeader.
 */
export declare function restoreHeader(path: string, file: string, options: RestoreOptions): Promise<void>;
