/** Gets a quote with what is needed to judge it, and has it judged. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { stateDir } from "../enclave/machine-secret.ts"
import { AESM_SOCKET, quoteFrom } from "./aesmd.ts"
import type { Askable, Surroundings } from "./assess.ts"
import { readCollateral } from "./collateral-files.ts"
import { parseRootKey } from "./judge/certificates.ts"
import { type Collateral, parseBundle } from "./judge/collateral.ts"
import type { Policy } from "./judge/policy.ts"
import { parseQuote, TARGET_INFO_SIZE } from "./judge/quote.ts"
import { Refusal, refuse } from "./judge/refusal.ts"
import type { Binding } from "./judge/report-data.ts"
import { INTEL_ROOT_KEY, verifyQuote } from "./judge/verify.ts"
import { configDir } from "./known-enclaves.ts"
import { softwareQuote } from "./software-quote.ts"

type EvidenceSources = Pick<Surroundings, "now" | "aesmSocket" | "rootKey">

/** Where the collateral of remote SGX enclaves is kept: a folder, or one JSON file. */
function keptCollateral(): Collateral | Refusal {
  const path = ["collateral", "collateral.json"].map((name) => join(configDir(), name)).find((each) => existsSync(each))
  if (path === undefined) {
    return new Refusal(`there is no collateral; put what Intel's PCS or a PCCS returns into ${configDir()}/collateral`)
  }
  return readCollateral(path)
}

interface Evidence {
  readonly quote: Uint8Array
  readonly collateral: Collateral | Refusal
  /** Whose root the quote leads to when the policy is one for tests. */
  readonly testRoot: Uint8Array | null
}

async function evidenceOf(
  enclave: Askable,
  nonce: Uint8Array,
  remote: boolean,
  world: EvidenceSources,
): Promise<Evidence> {
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
  evidence: Evidence,
  policy: Policy,
  binding: Binding,
  world: EvidenceSources,
): Promise<Uint8Array> {
  const verdict = await verifyQuote({
    quote: evidence.quote,
    collateral: evidence.collateral,
    policy,
    at: world.now(),
    rootKey: (policy.testing ? evidence.testRoot : null) ?? world.rootKey ?? INTEL_ROOT_KEY,
    binding,
  })
  if (verdict.verdict === "accepted") return parseQuote(evidence.quote).reportBytes
  throw refuse("ATTEST_REFUSED", `the ${verdict.decidedBy} check failed: ${verdict.reason}`)
}

/**
 * The report inside a quote that satisfies `policy` and binds what is asked.
 * Throws TresorError: ATTEST_REFUSED, ATTEST_NO_QUOTE, and those of aesmd.
 */
export async function vouchedReport(
  enclave: Askable,
  policy: Policy,
  binding: Binding,
  remote: boolean,
  world: EvidenceSources,
): Promise<Uint8Array> {
  return judge(await evidenceOf(enclave, binding.nonce, remote, world), policy, binding, world)
}
