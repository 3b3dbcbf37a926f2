import type { NbdTarget } from "../nbd/uri.ts";
export interface ExportClaim {
    release(): Promise<void>;
}
export interface ClaimOptions {
    /** A reader only looks whether somebody else writes. */
    readonly write: boolean;
    /** Whose claim it is. Data and header of one volume are opened apart, and have the same; two volumes never do. */
    readonly owner: object;
}
/** `address`: of a server behind TCP, as it was connected to. Throws TresorError STORE_BUSY (exit 5). */
export declare function claimExport(target: NbdTarget, address: string, { write, owner }: ClaimOptions): Promise<ExportClaim>;
