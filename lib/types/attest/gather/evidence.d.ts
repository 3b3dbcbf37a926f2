/** Gets a quote with what is needed to judge it, and has it judged. */
import type { Policy } from "../judge/policy.ts";
import type { ReportBinding } from "../judge/report-data.ts";
import type { Attester, EvidenceSources } from "../surroundings.ts";
/**
 * The report inside a quote that satisfies `policy` and binds what is asked.
 * Throws TresorError: ATTEST_REFUSED, ATTEST_NO_QUOTE, and those of aesmd.
 */
export declare function vouchedReport(enclave: Attester, policy: Policy, binding: ReportBinding, remote: boolean, world: EvidenceSources): Promise<Uint8Array>;
