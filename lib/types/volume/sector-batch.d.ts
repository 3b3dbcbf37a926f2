/** Rows for one pass of whole sectors through the enclave (addon/io/sectors.c tells the columns). Pure. */
export declare const ROWS = 64;
export declare class SectorBatch {
    #private;
    /** What the addon reads, and writes results into. */
    readonly table: Float64Array<ArrayBuffer>;
    /** `segment`: bytes in the store where the volume's first sector lies. */
    constructor(segment: number);
    get rows(): number;
    get full(): boolean;
    /**
     * `offset` and `length`: whole sectors of the volume, in bytes. `at`: where the
     * sectors go in the buffer, a multiple of 8. `from`: where a write's plaintext is.
     */
    add(offset: number, length: number, at: number, from: number): void;
    /** After a pass: rows moved, and their bytes. */
    moved(): {
        readonly rows: number;
        readonly bytes: number;
    };
    /** After a pass: whether the row was not moved. */
    failed(row: number): boolean;
    clear(): void;
}
