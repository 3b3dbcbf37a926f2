/**
 * `null`: nothing speaks against an SGX ECDSA quote. Throws nothing.
 *
 * Open Enclave's header: version 1, type (1 a report, 2 a quote), length as a
 * u64 (openenclave, include/openenclave/internal/report.h). EPID: versions 1 to
 * 3 and signature type 0 or 1 where ECDSA quotes have 2 (linux-sgx, sgx_quote.h).
 */
export declare function whatElse(bytes: Uint8Array): string | null;
export declare function certificationName(type: number): string;
