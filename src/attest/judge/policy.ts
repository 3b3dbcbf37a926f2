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
import * as v from "valibot"
import { Exit, TresorError } from "../../base/errors.ts"
import { jsonFault, parseJson } from "../../base/json.ts"
import { TCB_STATUSES } from "./tcb.ts"

const hex32 = v.pipe(v.string(), v.regex(/^[0-9a-fA-F]{64}$/, "expected 64 hex digits"), v.toLowerCase())
const u16 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535))

/** What a platform's status may be; Revoked never. */
export const ACCEPTABLE = TCB_STATUSES.filter((status) => status !== "Revoked")

const policySchema = v.pipe(
  v.strictObject({
    version: v.optional(v.literal(1), 1),
    mrenclave: v.optional(
      v.union(
        [
          v.pipe(
            hex32,
            v.transform((one) => [one]),
          ),
          v.pipe(v.array(hex32), v.minLength(1)),
        ],
        "expected 64 hex digits, or a list of such strings",
      ),
    ),
    mrsigner: v.optional(hex32),
    isvProdId: v.optional(u16),
    isvSvn: v.optional(u16),
    tcb: v.optional(v.array(v.picklist(ACCEPTABLE)), ["UpToDate"]),
    advisories: v.optional(v.array(v.string()), []),
    maxCollateralAgeDays: v.optional(v.pipe(v.number(), v.minValue(0))),
    minTcbEvaluationDataNumber: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
    testing: v.optional(v.boolean(), false),
  }),
  v.check(
    (policy) => policy.mrenclave !== undefined || policy.mrsigner !== undefined,
    "it names neither mrenclave nor mrsigner, so it would accept any enclave",
  ),
  v.check(
    ({ mrsigner, isvProdId, isvSvn }) =>
      mrsigner === undefined
        ? isvProdId === undefined && isvSvn === undefined
        : isvProdId !== undefined && isvSvn !== undefined,
    "mrsigner, isvProdId and isvSvn belong together",
  ),
)

export type Policy = v.InferOutput<typeof policySchema>

/** Throws TresorError ATTEST_BAD_POLICY. */
export function parsePolicy(text: string): Policy {
  const fail = (fact: string, cause?: unknown) =>
    new TresorError("ATTEST_BAD_POLICY", Exit.badArguments, `Cannot use the policy: ${fact}`, { cause })
  let value: unknown
  try {
    value = parseJson(text)
  } catch (cause) {
    throw fail(`it ${jsonFault(cause)}`, cause)
  }
  const parsed = v.safeParse(policySchema, value)
  if (parsed.success) return parsed.output
  const [issue] = parsed.issues
  const path = v.getDotPath(issue)
  throw fail(path === null ? issue.message : `${path}: ${issue.message}`)
}

/** The identity facts a policy can be written from; a report body and an EnclaveIdentity both have them. */
export interface Identity {
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
}

/** For quotes judged without a policy file: genuine, up to date, no DEBUG; which enclave it is stays open. */
export const NO_POLICY: Policy = { version: 1, tcb: ["UpToDate"], advisories: [], testing: false }

/**
 * Intel's number for what it knew of broken TCBs: its standard collateral of
 * 2025-08-15 has 17 (the early one 19). Collateral with a lower one was out of
 * date when this was written.
 */
export const TCB_EVALUATION_DATA_NUMBER = 17

/**
 * A policy that accepts this enclave (`by` mrenclave) or it and its upgrades
 * (`by` mrsigner), on platforms that are up to date.
 */
export function policyFor(
  identity: Identity,
  by: "mrenclave" | "mrsigner",
  minTcbEvaluationDataNumber = TCB_EVALUATION_DATA_NUMBER,
): Policy {
  const { mrenclave, mrsigner, isvProdId, isvSvn } = identity
  return {
    version: 1,
    ...(by === "mrenclave" ? { mrenclave: [mrenclave] } : { mrsigner, isvProdId, isvSvn }),
    // Advisories whose mitigation is software, and done: the enclave moves host memory in aligned
    // quadwords only.
    tcb: ["UpToDate", "SWHardeningNeeded"],
    advisories: ["INTEL-SA-00615", "INTEL-SA-00657"],
    minTcbEvaluationDataNumber,
    testing: identity.debug,
  }
}

export function formatPolicy(policy: Policy): string {
  return `${JSON.stringify(policy, null, 2)}\n`
}
