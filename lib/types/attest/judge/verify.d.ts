import { type PckExtension } from "./certificates.ts";
import type { Collateral } from "./collateral.ts";
import { type Policy } from "./policy.ts";
import { Refusal } from "./refusal.ts";
import { type ReportBinding } from "./report-data.ts";
import { type TcbStatus } from "./tcb.ts";
/** Key of "Intel SGX Root CA". Its two certificates (until 2033 and 2049) have the same. */
export declare const INTEL_ROOT_KEY: Uint8Array;
/** Root of the quotes that the software backend makes for tests. */
export declare const SOFTWARE_ROOT_NAME = "Tresor software test root";
/** In the order they are made. */
export declare const CHECKS: readonly ["quote", "collateral", "pck-chain", "root", "pck-validity", "root-crl", "pck-crl", "pck-revocation", "pck-extension", "tcb-info", "tcb-info-platform", "qe-identity", "qe-report-signature", "qe-report-data", "qe-report", "quote-signature", "tcb-level", "tcb-status", "advisories", "collateral-age", "debug", "attributes", "enclave", "report-data"];
export type CheckName = (typeof CHECKS)[number];
export interface Check {
    readonly name: CheckName;
    readonly result: "passed" | "failed" | "not run";
    /** The fact found, when failed. */
    readonly fact?: string;
}
export interface Evidence {
    readonly quote: Uint8Array;
    /** A Refusal is what came of reading it: the verdict then says so. */
    readonly collateral: Collateral | Refusal;
    /** `null`: NO_POLICY, and the measurement is not judged. */
    readonly policy: Policy | null;
    readonly at: Date;
    /** 04 || x || y; Intel's unless a test says otherwise. */
    readonly rootKey?: Uint8Array;
    /** `null`: REPORTDATA is not judged. Whoever will encrypt to the enclave must give it. */
    readonly binding: ReportBinding | null;
    /** The highest TCB evaluation data number seen for such a platform; without: none was. */
    readonly seenNumber?: (platform: PlatformType) => SeenNumber | null;
}
/** What TCB info is issued for. Hex. */
export type PlatformType = Pick<PckExtension, "fmspc" | "pceId">;
export interface SeenNumber {
    readonly number: number;
    /** Where that stands, for people. */
    readonly where: string;
}
export interface Verdict {
    readonly verdict: "accepted" | "refused";
    /** One line. */
    readonly reason: string;
    /** The check that refused. */
    readonly decidedBy: CheckName | null;
    readonly tcbStatus: TcbStatus | null;
    readonly advisories: readonly string[];
    /** The lower one of TCB info and QE identity; `null` before both are known to be Intel's. */
    readonly tcbEvaluationDataNumber: number | null;
    /** Whose collateral that is. */
    readonly platform: PlatformType | null;
    readonly mrenclave: string | null;
    readonly mrsigner: string | null;
    readonly isvProdId: number | null;
    readonly isvSvn: number | null;
    readonly debug: boolean | null;
    readonly checks: readonly Check[];
}
export declare function verifyQuote(evidence: Evidence): Promise<Verdict>;
