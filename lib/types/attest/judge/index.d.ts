/** Judging SGX quotes for programs: against Intel's collateral, by a policy. Pure: runs in a browser. */
export { TresorError } from "../../base/errors.ts";
export { parseRootKey } from "./certificates.ts";
export { type Collateral, parseBundle } from "./collateral.ts";
export { formatPolicy, type Identity, type Policy, parsePolicy, policyFor } from "./policy.ts";
export { parseQuote, type Quote } from "./quote.ts";
export { Refusal } from "./refusal.ts";
export { type ReportBinding, reportDataFor } from "./report-data.ts";
export { INTEL_ROOT_KEY, type Verdict, verifyQuote } from "./verify.ts";
