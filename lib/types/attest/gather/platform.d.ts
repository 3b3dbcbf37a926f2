/** WebCrypto's, by the names both Node and browsers type them under. */
export type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
export interface KeyPair {
    readonly publicKey: Key;
    readonly privateKey: Key;
}
export interface CertificateSpec {
    readonly commonName: string;
    readonly serial: number;
    readonly notBefore: Date;
    readonly notAfter: Date;
    readonly ca: boolean;
    /** First byte of KeyUsage. */
    readonly keyUsage: number;
}
export interface TcbLevelSpec {
    readonly components: readonly number[];
    readonly pceSvn: number;
    readonly status: string;
    readonly advisories?: readonly string[];
}
export interface Dates {
    readonly issued: Date;
    readonly nextUpdate: Date;
}
export interface PlatformSpec extends Dates {
    readonly root: CertificateSpec;
    readonly intermediate: CertificateSpec;
    readonly leaf: CertificateSpec;
    readonly tcbSigner: CertificateSpec;
    /** What the PCK certificate says. `null`: no SGX extension. */
    readonly pck: {
        readonly fmspc: string;
        readonly pceId: string;
        readonly components: readonly number[];
        readonly pceSvn: number;
        /** 16 bytes in hex; default: the components. */
        readonly cpuSvn?: string;
    } | null;
    /** Of a CRL, when they are not `issued` and `nextUpdate`. */
    readonly rootCrl?: Dates;
    readonly pckCrl?: Dates;
    /** Serial numbers. */
    readonly revokedByRoot: readonly number[];
    readonly revokedByIntermediate: readonly number[];
    /** The signed JSON values. */
    readonly tcbInfo: Readonly<Record<string, unknown>>;
    readonly qeIdentity: Readonly<Record<string, unknown>>;
    /** 384 bytes; REPORTDATA is filled in. */
    readonly qeReport: Uint8Array;
    /** Its REPORTDATA instead of the one that vouches for the attestation key. */
    readonly qeReportData: Uint8Array | ((right: Uint8Array) => Uint8Array) | null;
    readonly authData: Uint8Array;
}
/** How a quote is put together; without: as Intel's quoting enclave does it. */
export interface QuoteForm {
    readonly version?: 3 | 4 | 5;
    /** Default: 5, the chain as PEM. */
    readonly certification?: {
        readonly type: number;
        readonly data: Uint8Array;
    };
    /** Changes the header before it is signed. */
    readonly header?: (view: DataView) => void;
}
export interface Platform {
    /** PEM. */
    readonly rootCertificate: string;
    readonly rootKey: Uint8Array;
    /** One JSON object; see parseBundle. */
    readonly bundle: Readonly<Record<string, string>>;
    readonly pckChain: string;
    /** `body` is a report's first 384 bytes. */
    quote(body: Uint8Array, form?: QuoteForm): Promise<Uint8Array>;
}
export declare function newKey(): Promise<KeyPair>;
export declare function pem(kind: string, der: Uint8Array): string;
/** TCB info, version 3. */
export declare function tcbInfoFor(pck: NonNullable<PlatformSpec["pck"]>, issued: Date, nextUpdate: Date, levels: readonly TcbLevelSpec[]): {
    id: string;
    version: number;
    issueDate: string;
    nextUpdate: string;
    fmspc: string;
    pceId: string;
    tcbType: number;
    tcbEvaluationDataNumber: number;
    tcbLevels: {
        advisoryIDs?: readonly string[];
        tcb: {
            sgxtcbcomponents: {
                svn: number;
            }[];
            pcesvn: number;
        };
        tcbDate: string;
        tcbStatus: string;
    }[];
};
export declare function qeIdentityFor(issued: Date, nextUpdate: Date, status?: string): {
    id: string;
    version: number;
    issueDate: string;
    nextUpdate: string;
    tcbEvaluationDataNumber: number;
    miscselect: string;
    miscselectMask: string;
    attributes: string;
    attributesMask: string;
    mrsigner: string;
    isvprodid: number;
    tcbLevels: {
        tcb: {
            isvsvn: number;
        };
        tcbDate: string;
        tcbStatus: string;
    }[];
};
/** A quoting enclave's report that agrees with `qeIdentityFor`. */
export declare function qeReport(): Uint8Array;
/** A platform that is up to date from `issued` to `nextUpdate`. */
export declare function platformSpec(rootName: string, issued: Date, nextUpdate: Date): PlatformSpec;
export declare function makePlatform(spec: PlatformSpec, rootPair: KeyPair): Promise<Platform>;
