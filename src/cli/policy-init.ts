/** `tresor attest policy init`, without the command-line parser: options in, one result out. */
import { createHash } from "node:crypto"
import { existsSync, writeFileSync } from "node:fs"
import { keptCollateralPath, readCollateral } from "../attest/gather/collateral-files.ts"
import {
  formatPolicy,
  type Identity,
  type Policy,
  policyFor,
  TCB_EVALUATION_DATA_NUMBER,
} from "../attest/judge/policy.ts"
import { parseQuote, ReportFlag } from "../attest/judge/quote.ts"
import { Refusal } from "../attest/judge/refusal.ts"
import { evaluationNumber } from "../attest/judge/signed-json.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { checkSigstruct, parseSigstruct } from "../enclave/image/sigstruct.ts"
import { checkReleased } from "../enclave/release-signers.ts"
import { badOption, GROUND, type Ground, ownIdentity, read } from "./attest.ts"
import type { CommandResult } from "./result.ts"

export interface PolicyOptions {
  /** Where the lowest accepted TCB evaluation data number is taken from. */
  readonly collateral?: string | undefined
  readonly quote?: string | undefined
  readonly sigstruct?: string | undefined
  readonly by: "mrenclave" | "mrsigner"
  readonly testing?: boolean | undefined
  readonly out?: string | undefined
  readonly force?: boolean | undefined
}

/** A quote's enclave, and whether it is one for tests. */
function quotedIdentity(path: string): Identity {
  try {
    const { report } = parseQuote(read(path))
    const production = ReportFlag.init | ReportFlag.mode64
    return { ...report, debug: report.debug || (report.attributes & production) !== production }
  } catch (error) {
    if (error instanceof Refusal) {
      throw new TresorError("ATTEST_BAD_QUOTE", Exit.badArguments, `Cannot use ${path}: ${error.message}`)
    }
    throw error
  }
}

function identityFor({ quote, sigstruct }: PolicyOptions): Identity {
  if (quote !== undefined && sigstruct !== undefined) throw badOption("Cannot use both --quote and --sigstruct")
  if (quote !== undefined) return quotedIdentity(quote)
  if (sigstruct === undefined) return ownIdentity()
  const bytes = read(sigstruct)
  const newSha256 = () => createHash("sha256")
  // One that was altered would make a policy for an enclave that nobody signed.
  const failed = checkSigstruct(bytes, newSha256).find(({ passed }) => !passed)
  if (failed === undefined) return parseSigstruct(bytes, newSha256)
  throw new TresorError("ATTEST_BAD_SIGSTRUCT", Exit.badArguments, `Cannot use ${sigstruct}: ${failed.fact}`)
}

/** Of that collateral, and why it cannot be used: what is not given may be unusable. */
async function numberOf(path: string, { now, intelKey }: Ground): Promise<number | Refusal> {
  const collateral = readCollateral(path)
  if (collateral instanceof Refusal) return collateral
  try {
    return Math.max(TCB_EVALUATION_DATA_NUMBER, await evaluationNumber(collateral, intelKey, now()))
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
}

interface LeastNumber {
  readonly number: number
  readonly source: string
}

/** The lowest number to accept: what current collateral has, else what was current when this was written. */
async function leastNumber({ collateral, testing }: PolicyOptions, ground: Ground): Promise<LeastNumber> {
  const known = { number: TCB_EVALUATION_DATA_NUMBER, source: "of August 2025; without usable collateral" }
  // The software backend's own collateral has that one.
  if (testing === true && collateral === undefined) return { ...known, source: "for tests" }
  const path = collateral ?? keptCollateralPath()
  if (path === null) return known
  const number = await numberOf(path, ground)
  if (!(number instanceof Refusal)) return { number, source: `of ${path}` }
  if (collateral === undefined) return { ...known, source: `${known.source}: ${number.message}` }
  throw new TresorError("ATTEST_BAD_COLLATERAL", Exit.badArguments, `Cannot use ${path}: ${number.message}`)
}

/** `tresor attest policy init`: a policy for this installation's enclave, or for the one of a quote or SIGSTRUCT. */
export async function policyInit(options: PolicyOptions, ground: Ground = GROUND): Promise<CommandResult> {
  const identity = identityFor(options)
  if (options.by === "mrsigner") checkReleased(identity.mrsigner, "Cannot make a policy by", ground.signers())
  const { number, source } = await leastNumber({ ...options, testing: options.testing || identity.debug }, ground)
  const made = policyFor(identity, options.by, number)
  const policy: Policy = { ...made, testing: made.testing || options.testing === true }
  const { out } = options
  if (out === undefined) return { exitCode: 0, json: policy, lines: formatPolicy(policy).trimEnd().split("\n") }
  if (existsSync(out) && !options.force) {
    throw new TresorError(
      "ATTEST_POLICY_EXISTS",
      Exit.busy,
      `Cannot write ${out}: it exists; use --force to overwrite it`,
    )
  }
  writeFileSync(out, formatPolicy(policy))
  const lines = [`${out}: accepts ${options.by === "mrenclave" ? identity.mrenclave : `signer ${identity.mrsigner}`}`]
  lines.push(`It requires TCB evaluation data number ${number} or higher (${source}).`)
  if (policy.testing) lines.push("It is for tests: it accepts DEBUG enclaves, whose memory the host can read.")
  return { exitCode: 0, json: policy, lines }
}
