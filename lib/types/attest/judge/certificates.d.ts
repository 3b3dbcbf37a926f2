/** What the issuer signed, and r || s; `null` unless it is an ECDSA signature over SHA-256. */
interface SignedPart {
    readonly bytes: Uint8Array;
    readonly signature: Uint8Array | null;
}
export interface X509 {
    readonly commonName: string;
    readonly issuerName: string;
    /** The whole names, as encoded. */
    readonly subject: Uint8Array;
    readonly issuer: Uint8Array;
    /** Hex, as encoded. */
    readonly serial: string;
    readonly notBefore: Date;
    readonly notAfter: Date;
    /** 04 || x || y. */
    readonly publicKey: Uint8Array;
    readonly isCa: boolean;
    readonly keyUsage: number;
    readonly isSelfIssued: boolean;
    /** Content of Intel's SGX extension. */
    readonly sgxExtension: Uint8Array | null;
    readonly signed: SignedPart;
}
export interface Crl {
    readonly issuerName: string;
    readonly issuer: Uint8Array;
    readonly thisUpdate: Date;
    readonly nextUpdate: Date;
    readonly revoked: ReadonlySet<string>;
    readonly signed: SignedPart;
}
export declare function parseCertificate(der: Uint8Array): X509;
export declare function parseCrl(der: Uint8Array): Crl;
/** Every block of that kind; text around them, and a trailing NUL, are allowed (RFC 7468). */
export declare function pemBlocks(text: string, kind: "CERTIFICATE" | "X509 CRL" | "PUBLIC KEY"): Uint8Array[];
/** 04 || x || y of a pinned root: a certificate or public key in PEM, or DER of a certificate. */
export declare function parseRootKey(bytes: Uint8Array): Uint8Array;
/** Name, CA rights and signature: `issuer` issued `subject`. Throws Refusal. */
export declare function checkIssued(subject: X509, issuer: X509): Promise<void>;
export declare function checkEndEntity(certificate: X509): void;
export declare function checkValidity(certificate: X509, at: Date): void;
export declare function checkCrl(crl: Crl, issuer: X509, at: Date): Promise<void>;
/** What the PCK certificate says of its platform (Intel SGX PCK Certificate specification, 1.3.5). */
export interface PckExtension {
    readonly ppid: string;
    readonly components: readonly number[];
    readonly pceSvn: number;
    readonly pceId: string;
    readonly fmspc: string;
}
export declare function parsePckExtension(certificate: X509): PckExtension;
export {};
