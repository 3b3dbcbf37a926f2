/**
 * A policy: the enclaves and platforms that may have a secret. A JSON file:
 *
 *   {"version":1,
 *    "mrenclave":["<64 hex>"],
 *    "mrsigner":"<64 hex>","isvProdId":1,"isvSvn":1,
 *    "tcb":["UpToDate","SWHardeningNeeded"],
 *    "advisories":["INTEL-SA-00615"],
 *    "maxCollateralAgeDays":30,"minTcbEvaluationDataNumber":17,
 *    "testing":false}
 *
 * Either `mrenclave` or the signer triple must be there; with both, both must
 * hold. `isvSvn` is the lowest accepted. Everything else may be left out. Unknown keys are refused: a misspelt
 * restriction must not be no restriction.
 */
import * as v from "valibot";
/** What a platform's status may be; Revoked never. */
export declare const ACCEPTABLE: ("UpToDate" | "SWHardeningNeeded" | "ConfigurationNeeded" | "ConfigurationAndSWHardeningNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded")[];
declare const policySchema: v.SchemaWithPipe<readonly [v.StrictObjectSchema<{
    readonly version: v.OptionalSchema<v.LiteralSchema<1, undefined>, 1>;
    readonly mrenclave: v.OptionalSchema<v.UnionSchema<[v.SchemaWithPipe<readonly [v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, "expected 64 hex digits">, v.ToLowerCaseAction]>, v.TransformAction<string, string[]>]>, v.SchemaWithPipe<readonly [v.ArraySchema<v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, "expected 64 hex digits">, v.ToLowerCaseAction]>, undefined>, v.MinLengthAction<string[], 1, undefined>]>], "expected 64 hex digits, or a list of such strings">, undefined>;
    readonly mrsigner: v.OptionalSchema<v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, "expected 64 hex digits">, v.ToLowerCaseAction]>, undefined>;
    readonly isvProdId: v.OptionalSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, 65535, undefined>]>, undefined>;
    readonly isvSvn: v.OptionalSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, 65535, undefined>]>, undefined>;
    readonly tcb: v.OptionalSchema<v.ArraySchema<v.PicklistSchema<("UpToDate" | "SWHardeningNeeded" | "ConfigurationNeeded" | "ConfigurationAndSWHardeningNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded")[], undefined>, undefined>, readonly ["UpToDate"]>;
    readonly advisories: v.OptionalSchema<v.ArraySchema<v.StringSchema<undefined>, undefined>, readonly []>;
    readonly maxCollateralAgeDays: v.OptionalSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
    readonly minTcbEvaluationDataNumber: v.OptionalSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
    readonly testing: v.OptionalSchema<v.BooleanSchema<undefined>, false>;
}, undefined>, v.CheckAction<{
    version: 1;
    mrenclave?: string[] | undefined;
    mrsigner?: string | undefined;
    isvProdId?: number | undefined;
    isvSvn?: number | undefined;
    tcb: ("UpToDate" | "SWHardeningNeeded" | "ConfigurationNeeded" | "ConfigurationAndSWHardeningNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded")[];
    advisories: string[];
    maxCollateralAgeDays?: number | undefined;
    minTcbEvaluationDataNumber?: number | undefined;
    testing: boolean;
}, "it names neither mrenclave nor mrsigner, so it would accept any enclave">, v.CheckAction<{
    version: 1;
    mrenclave?: string[] | undefined;
    mrsigner?: string | undefined;
    isvProdId?: number | undefined;
    isvSvn?: number | undefined;
    tcb: ("UpToDate" | "SWHardeningNeeded" | "ConfigurationNeeded" | "ConfigurationAndSWHardeningNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded")[];
    advisories: string[];
    maxCollateralAgeDays?: number | undefined;
    minTcbEvaluationDataNumber?: number | undefined;
    testing: boolean;
}, "mrsigner, isvProdId and isvSvn belong together">]>;
export type Policy = v.InferOutput<typeof policySchema>;
/** Throws TresorError ATTEST_BAD_POLICY. */
export declare function parsePolicy(text: string): Policy;
/** The identity facts a policy can be written from; a report body and an EnclaveIdentity both have them. */
export interface Identity {
    readonly mrenclave: string;
    readonly mrsigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
    readonly debug: boolean;
}
/** For quotes judged without a policy file: genuine, up to date, no DEBUG; which enclave it is stays open. */
export declare const NO_POLICY: Policy;
/**
 * Intel's number for what it knew of broken TCBs: its standard collateral of
 * 2025-08-15 has 17 (the early one 19). Collateral with a lower one was out of
 * date when this was written.
 */
export declare const TCB_EVALUATION_DATA_NUMBER = 17;
/**
 * A policy that accepts this enclave (`by` mrenclave) or it and its upgrades
 * (`by` mrsigner), on platforms that are up to date.
 */
export declare function policyFor(identity: Identity, by: "mrenclave" | "mrsigner", minTcbEvaluationDataNumber?: number): Policy;
export declare function formatPolicy(policy: Policy): string;
export {};
