/** What is served; the flags depend on what was negotiated. */
export interface ExportDescription {
    readonly size: number;
    readonly preferredBlock: number;
    flags(structured: boolean): number;
}
export interface Negotiated {
    readonly structured: boolean;
    readonly allocation: boolean;
}
export interface Wire {
    /** `null`: the peer left. */
    read(length: number): Promise<Buffer | null>;
    /** Resolves when the peer has room for more: it may ask without ever reading. */
    write(bytes: Uint8Array): Promise<void>;
}
/** Number of base:allocation in block status replies. */
export declare const ALLOCATION_CONTEXT = 1;
/** `null`: the connection ends here, as the peer wished or because it does not keep to the protocol. */
export declare function negotiate(wire: Wire, served: ExportDescription): Promise<Negotiated | null>;
