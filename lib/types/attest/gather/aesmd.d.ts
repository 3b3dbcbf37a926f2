export declare const AESM_SOCKET = "/var/run/aesmd/aesm.socket";
export declare const REPORT_SIZE: number;
/** Makes sure the attestation key is there; the TARGETINFO reports must be made for. */
export declare function initQuote(path?: string): Promise<Uint8Array>;
/** `report` (432 bytes) was made for `initQuote`'s TARGETINFO. The quote is cut to its length. */
export declare function getQuote(report: Uint8Array, path?: string): Promise<Uint8Array>;
/**
 * A quote of what `report` says when asked for that TARGETINFO. Once more when
 * the attestation key went away in between, as aesmd documents.
 */
export declare function quoteFrom(report: (targetInfo: Uint8Array) => Promise<Uint8Array>, path?: string): Promise<Uint8Array>;
