/**
 * TCB info (versions 2 and 3) and QE identity (version 2) of Intel's PCS v3
 * and v4, and the status that follows from them, by the rules of Intel's
 * quote verification library (TcbLevelCheck.cpp, EnclaveReportVerifier.cpp,
 * TcbInfo.cpp, TcbLevel.cpp). Where it looks away, this refuses;
 * docs/attestation.md lists where.
 */
import * as v from "valibot";
import type { PckExtension } from "./certificates.ts";
import type { ReportBody } from "./quote.ts";
export declare const TCB_STATUSES: readonly ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"];
export type TcbStatus = (typeof TCB_STATUSES)[number];
declare const qeIdentitySchema: v.LooseObjectSchema<{
    readonly id: v.LiteralSchema<"QE", undefined>;
    readonly version: v.LiteralSchema<2, undefined>;
    readonly miscselect: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.LengthAction<string, number, undefined>, v.ToLowerCaseAction]>;
    readonly miscselectMask: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.LengthAction<string, number, undefined>, v.ToLowerCaseAction]>;
    readonly attributes: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.LengthAction<string, number, undefined>, v.ToLowerCaseAction]>;
    readonly attributesMask: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.LengthAction<string, number, undefined>, v.ToLowerCaseAction]>;
    readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.LengthAction<string, number, undefined>, v.ToLowerCaseAction]>;
    readonly isvprodid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>;
    readonly tcbLevels: v.SchemaWithPipe<readonly [v.ArraySchema<v.LooseObjectSchema<{
        readonly tcb: v.LooseObjectSchema<{
            readonly isvsvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>;
        }, undefined>;
        readonly tcbDate: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.IsoTimestampAction<string, undefined>, v.TransformAction<string, Date>, v.CheckAction<Date, "invalid time">]>;
        readonly tcbStatus: v.PicklistSchema<["UpToDate", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"], undefined>;
        readonly advisoryIDs: v.OptionalSchema<v.ArraySchema<v.StringSchema<undefined>, undefined>, undefined>;
    }, undefined>, undefined>, v.MinLengthAction<({
        tcb: {
            isvsvn: number;
        } & {
            [key: string]: unknown;
        };
        tcbDate: Date;
        tcbStatus: "UpToDate" | "ConfigurationNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded" | "Revoked";
        advisoryIDs?: string[] | undefined;
    } & {
        [key: string]: unknown;
    })[], 1, "no TCB levels">, v.CheckAction<({
        tcb: {
            isvsvn: number;
        } & {
            [key: string]: unknown;
        };
        tcbDate: Date;
        tcbStatus: "UpToDate" | "ConfigurationNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded" | "Revoked";
        advisoryIDs?: string[] | undefined;
    } & {
        [key: string]: unknown;
    })[], "the TCB levels do not fall">]>;
    readonly issueDate: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.IsoTimestampAction<string, undefined>, v.TransformAction<string, Date>, v.CheckAction<Date, "invalid time">]>;
    readonly nextUpdate: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.IsoTimestampAction<string, undefined>, v.TransformAction<string, Date>, v.CheckAction<Date, "invalid time">]>;
    readonly tcbEvaluationDataNumber: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
}, undefined>;
export interface Dated {
    readonly version: number;
    readonly issueDate: Date;
    readonly nextUpdate: Date;
    readonly tcbEvaluationDataNumber: number;
}
export type QeIdentity = v.InferOutput<typeof qeIdentitySchema>;
interface Level {
    readonly tcbStatus: TcbStatus;
    readonly advisoryIDs?: readonly string[] | undefined;
}
interface PlatformTcb {
    readonly components: readonly number[];
    readonly pceSvn: number;
}
export interface TcbInfo extends Dated {
    readonly version: 2 | 3;
    readonly fmspc: string;
    readonly pceId: string;
    /** High to low, none twice. */
    readonly tcbLevels: readonly (Level & {
        readonly tcb: PlatformTcb;
    })[];
}
/** `text` is the signed value itself, the object under "tcbInfo". */
export declare function parseTcbInfo(text: string): TcbInfo;
/** `text` is the signed value itself, the object under "enclaveIdentity". */
export declare function parseQeIdentity(text: string): QeIdentity;
export declare function checkDates(what: string, { issueDate, nextUpdate }: Dated, at: Date): void;
export interface JudgedTcb {
    readonly status: TcbStatus;
    readonly advisories: readonly string[];
    /** Not up to date, and nothing says why: TCB info of version 2 names no advisories. */
    readonly unexplained: boolean;
}
/** First level, high to low, that the certified platform reaches in all components and PCESVN. */
export declare function platformStatus(info: TcbInfo, pck: PckExtension): JudgedTcb;
/** The QE's report against its published identity; its status by ISVSVN. */
export declare function qeStatus(identity: QeIdentity, report: ReportBody): JudgedTcb;
/** Intel's convergence of platform and quoting enclave, where every status between the best and the worst is the same. */
export declare function mergeStatus(platformPart: JudgedTcb, qePart: JudgedTcb): JudgedTcb;
export {};
