export interface SoftwareQuote {
    readonly quote: Uint8Array;
    /** Collateral as one JSON object; `--collateral` takes it as a file. */
    readonly collateral: string;
    /** PEM; `--root` takes it. */
    readonly root: string;
}
/**
 * `report` is what the software backend's EREPORT gave (432 bytes, or its
 * body). It is not checked: whoever runs the software backend holds the
 * machine secret anyway.
 */
export declare function softwareQuote(report: Uint8Array, stateDir: string, now: Date): Promise<SoftwareQuote>;
