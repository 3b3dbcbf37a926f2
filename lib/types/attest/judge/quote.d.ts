export declare const INTEL_QE_VENDOR = "939a7233f79c4ca9940a0db3957f0607";
export declare const ReportFlag: {
    readonly init: 1n;
    readonly debug: 2n;
    readonly mode64: 4n;
    readonly provisionKey: 16n;
};
/** SDM 3D, REPORT: the 384 bytes under the MAC. */
export interface ReportBody {
    readonly cpuSvn: string;
    readonly miscSelect: number;
    /** FLAGS. */
    readonly attributes: bigint;
    readonly xfrm: bigint;
    /** The 16 bytes of both, as QE identities mask them. */
    readonly attributeBytes: Uint8Array;
    readonly mrenclave: string;
    readonly mrsigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
    /** 64 bytes. */
    readonly reportData: Uint8Array;
    readonly debug: boolean;
}
export interface Quote {
    readonly version: 3 | 4 | 5;
    readonly qeSvn: number;
    readonly pceSvn: number;
    readonly qeVendor: string;
    readonly userData: string;
    readonly report: ReportBody;
    /** 384 bytes. */
    readonly reportBytes: Uint8Array;
    /** What the ISV signature covers. */
    readonly signed: Uint8Array;
    readonly signature: Uint8Array;
    /** x || y. */
    readonly attestationKey: Uint8Array;
    readonly qeReport: ReportBody;
    readonly qeReportBytes: Uint8Array;
    readonly qeReportSignature: Uint8Array;
    readonly authData: Uint8Array;
    readonly certificationType: number;
    readonly certificationData: Uint8Array;
}
/** `bytes` are at least REPORT_BODY_SIZE, as in a REPORT or a quote. */
export declare function parseReportBody(bytes: Uint8Array): ReportBody;
/** Where a quote ends that is padded to a buffer's size; `null`: it is cut short. */
export declare function endOfQuote(bytes: Uint8Array): number | null;
/** Throws Refusal naming the field, or saying what it is instead of a quote. */
export declare function parseQuote(input: Uint8Array): Quote;
