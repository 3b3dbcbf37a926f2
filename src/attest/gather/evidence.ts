/** Gets a quote with what is needed to judge it, and has it judged. */

import { TARGET_INFO_SIZE } from "../../abi/sgx.ts"
import { stateDir } from "../../enclave/machine-secret.ts"
import { parseRootKey } from "../judge/certificates.ts"
import { type Collateral, parseBundle } from "../judge/collateral.ts"
import type { Policy } from "../judge/policy.ts"
import { parseQuote } from "../judge/quote.ts"
import { type Refusal, refuse } from "../judge/refusal.ts"
import type { ReportBinding } from "../judge/report-data.ts"
import { INTEL_ROOT_KEY, verifyQuote } from "../judge/verify.ts"
import type { Attester, EvidenceSources } from "../surroundings.ts"
import { rememberNumber, seenNumbers } from "../tcb-numbers.ts"
import { AESM_SOCKET, quoteFrom } from "./aesmd.ts"
import { keptCollateral } from "./collateral-files.ts"
import { softwareQuote } from "./software-quote.ts"

interface Gathered {
  readonly quote: Uint8Array
  readonly collateral: Collateral | Refusal
  /** Whose root the quote leads to when the policy is one for tests. */
  readonly testRoot: Uint8Array | null
}

async function evidenceOf(
  enclave: Attester,
  nonce: Uint8Array,
  remote: boolean,
  world: EvidenceSources,
): Promise<Gathered> {
  if (enclave.identity.backend === "software") {
    const report = await enclave.report(new Uint8Array(TARGET_INFO_SIZE), nonce)
    const made = await softwareQuote(report, stateDir(), world.now())
    return {
      quote: made.quote,
      collateral: parseBundle(made.collateral),
      testRoot: parseRootKey(new TextEncoder().encode(made.root)),
    }
  }
  if (enclave.quote === undefined && remote) {
    throw refuse("ATTEST_NO_QUOTE", "its machine makes no quotes; Tresor there is too old")
  }
  const quote =
    enclave.quote === undefined
      ? await quoteFrom((targetInfo) => enclave.report(targetInfo, nonce), world.aesmSocket ?? AESM_SOCKET)
      : await enclave.quote(nonce)
  return { quote, collateral: keptCollateral(), testRoot: null }
}

/** Throws TresorError ATTEST_REFUSED naming the check. Returns the report inside the quote. */
async function judge(
  evidence: Gathered,
  policy: Policy,
  binding: ReportBinding,
  world: EvidenceSources,
): Promise<Uint8Array> {
  const testRoot = policy.testing ? evidence.testRoot : null
  const verdict = await verifyQuote({
    quote: evidence.quote,
    collateral: evidence.collateral,
    policy,
    at: world.now(),
    rootKey: testRoot ?? world.rootKey ?? INTEL_ROOT_KEY,
    binding,
    ...(testRoot === null ? { seenNumber: seenNumbers() } : {}),
  })
  const warning = testRoot === null ? rememberNumber(verdict) : null
  if (warning !== null) world.tell(`WARNING: ${warning}`)
  if (verdict.verdict === "accepted") return parseQuote(evidence.quote).reportBytes
  throw refuse("ATTEST_REFUSED", `the ${verdict.decidedBy} check failed: ${verdict.reason}`)
}

/**
 * The report inside a quote that satisfies `policy` and binds what is asked.
 * Throws TresorError: ATTEST_REFUSED, ATTEST_NO_QUOTE, and those of aesmd.
 */
export async function vouchedReport(
  enclave: Attester,
  policy: Policy,
  binding: ReportBinding,
  remote: boolean,
  world: EvidenceSources,
): Promise<Uint8Array> {
  return judge(await evidenceOf(enclave, binding.nonce, remote, world), policy, binding, world)
}
