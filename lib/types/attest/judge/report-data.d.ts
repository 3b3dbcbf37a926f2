/** The key and nonce that REPORTDATA must bind. */
export interface ReportBinding {
    /** X25519, 32 bytes. */
    readonly publicKey: Uint8Array;
    /** 32 bytes. */
    readonly nonce: Uint8Array;
}
/** SHA-256("tresor report v1" || public key || nonce) || 32 zero bytes, as the enclave's REPORT has it. */
export declare function reportDataFor({ publicKey, nonce }: ReportBinding): Promise<Uint8Array>;
