/**
 * May this enclave have a passphrase? By a policy file, or as ssh knows hosts:
 * by what was pinned at first contact.
 *
 * What vouches for the answer: on SGX a quote, whose REPORTDATA binds the
 * enclave's key and our fresh nonce. An enclave on this very machine needs none
 * when it is the image of this installation: the host that could lie about it
 * reads the keyboard as well. The software backend has nothing that vouches for
 * it (its report is MACed under a secret its host can read), so that no policy
 * but one for tests accepts it, and a remote one is as good as the ssh that
 * leads there; the question at first contact says so.
 */
import { createHash, randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { REPORT_BODY_SIZE, TARGET_INFO_SIZE } from "../abi/sgx.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { installed } from "../base/installation.ts"
import { parseSigstruct } from "../enclave/image/sigstruct.ts"
import { releaseSigners } from "../enclave/release-signers.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import { isSystemError } from "./config-file.ts"
import { equal } from "./judge/bytes.ts"
import { type Policy, parsePolicy, policyFor } from "./judge/policy.ts"
import { parseReportBody } from "./judge/quote.ts"
import { refuse } from "./judge/refusal.ts"
import { type ReportBinding, reportDataFor } from "./judge/report-data.ts"
import { hostName, knownEnclavesPath, LOCAL, pin, readKnown, recognise, type Seen } from "./known-enclaves.ts"
import type { Attester, Surroundings } from "./surroundings.ts"

export interface AssessOptions {
  /** Policy file; then nothing is pinned or asked. */
  readonly policy?: string | undefined
  /** `user@host` of a remote enclave; absent: of this machine. */
  readonly host?: string | undefined
  /** Its process was started by this one: what it says of itself is as good as this program, and pinned. */
  readonly startedHere?: boolean
  /** It is asked to hand a keyslot over to the enclave that runs now (docs/decisions/0060). */
  readonly predecessor?: boolean
}

function ownImage(): Surroundings["own"] {
  try {
    return parseSigstruct(readFileSync(installed("enclave/build/tresor.sigstruct")), () => createHash("sha256"))
  } catch {
    return null
  }
}

/** Nobody is asked or told anything. */
function silence(): Surroundings {
  return {
    ask: null,
    tell: () => {},
    now: () => new Date(),
    aesmSocket: null,
    own: ownImage(),
    signers: releaseSigners,
    rootKey: null,
  }
}

/** The report's facts, after it is clear that they are about the key we would seal to. */
async function checkedReport(report: Uint8Array, { identity, binding }: Asked): Promise<Seen & { debug: boolean }> {
  if (report.length < REPORT_BODY_SIZE) throw refuse("ATTEST_BAD_REPORT", `its report has ${report.length} bytes`)
  const body = parseReportBody(report)
  if (!equal(body.reportData, await reportDataFor(binding))) {
    throw refuse("ATTEST_NOT_BOUND", "its report does not bind the key it offers and this request; try again")
  }
  for (const fact of ["mrenclave", "mrsigner", "isvProdId", "isvSvn", "debug"] as const) {
    if (body[fact] !== identity[fact]) {
      throw refuse("ATTEST_MISMATCH", `it says ${fact} ${identity[fact]}, its report ${body[fact]}`)
    }
  }
  const { mrenclave, mrsigner, isvProdId, isvSvn, debug } = body
  return { backend: identity.backend, mrenclave, mrsigner, isvProdId, isvSvn, debug }
}

interface Asked {
  readonly identity: EnclaveIdentity
  readonly binding: ReportBinding
}

/** X.509 and what goes with it is loaded when a quote is to be judged: most passphrases go to an enclave of this machine. */
const vouchedReport: typeof import("./gather/evidence.ts").vouchedReport = async (...words) =>
  (await import("./gather/evidence.ts")).vouchedReport(...words)

/** Throws ATTEST_BAD_POLICY (exit 1). */
export function readPolicyFile(path: string): Policy {
  try {
    return parsePolicy(readFileSync(path, "utf8"))
  } catch (error) {
    if (error instanceof TresorError) throw error
    throw new TresorError(
      "ATTEST_BAD_POLICY",
      Exit.badArguments,
      `Cannot read the policy ${path}: ${(error as Error).message}; \`tresor attest policy init\` makes one`,
      { cause: error },
    )
  }
}

/** Resolves when a passphrase may be sealed to `enclave.identity.publicKey`; else throws TresorError, exit 2. */
export async function assessEnclave(
  enclave: Attester,
  options: AssessOptions = {},
  given: Partial<Surroundings> = {},
): Promise<void> {
  const world: Surroundings = { ...silence(), ...given }
  const { identity } = enclave
  const binding: ReportBinding = { publicKey: identity.publicKey, nonce: enclave.freshNonce?.() ?? randomBytes(32) }
  const asked: Asked = { identity, binding }
  const remote = options.host !== undefined
  if (options.policy !== undefined) {
    const policy = readPolicyFile(options.policy)
    await checkedReport(await vouchedReport(enclave, policy, binding, remote, world), asked)
    return
  }

  const host = hostName(options.host)
  const path = knownEnclavesPath()
  const vouched = remote && identity.backend === "sgx"
  let report: Uint8Array
  if (vouched) {
    // Authentic, up to date, no DEBUG; which enclave it is, is then the list's to say.
    const policy: Policy = { ...policyFor(identity, "mrenclave"), testing: false }
    report = await vouchedReport(enclave, policy, binding, remote, world)
  } else {
    report = await enclave.report(new Uint8Array(TARGET_INFO_SIZE), binding.nonce)
  }
  const seen = await checkedReport(report, asked)
  if (seen.backend === "sgx" && seen.debug) {
    throw refuse("ATTEST_DEBUG", "it is a DEBUG enclave, whose memory its host can read")
  }
  // Whoever signed it: the measurement is what decides what it does with a passphrase.
  if (!remote && world.own?.mrenclave === seen.mrenclave) {
    // Nothing vouches for the report of a process that was there before: accepted, since only this user and root can be
    // behind that socket (control/find.ts), but not remembered as if somebody had looked at it.
    if (options.startedHere === true) pinOwn(path, seen)
    return
  }
  await decide({ path, host, vouched, predecessor: options.predecessor === true }, seen, world)
}

/** It would be accepted again without the pin, so a home that cannot be written to does not stop anything. */
function pinOwn(path: string, seen: Seen): void {
  try {
    pin(path, LOCAL, seen)
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
}

/** Of public numbers: equal ones say which image it claims to be, not that it is one. */
function compared(seen: Seen, own: Surroundings["own"]): string {
  if (own === null) return "This installation has no enclave to compare it with."
  return own.mrenclave === seen.mrenclave
    ? "The measurement is that of this installation's enclave."
    : `It is not this installation's image, which has ${own.mrenclave}.`
}

interface Case {
  /** known-enclaves. */
  readonly path: string
  readonly host: string
  /** By a quote. */
  readonly vouched: boolean
  readonly predecessor: boolean
}

async function decide({ path, host, vouched, predecessor }: Case, seen: Seen, world: Surroundings): Promise<void> {
  const { own } = world
  const signers = world.signers()
  const recognised = recognise(readKnown(path), host, seen, { own, signers, predecessor })
  if (recognised.kind === "known") return
  if (recognised.kind === "upgraded") {
    pin(path, host, seen, recognised.entry)
    world.tell(
      `the enclave of ${host} was upgraded to ${seen.mrenclave} by its signer, ${signers.get(seen.mrsigner)} (${path})`,
    )
    return
  }
  if (recognised.kind === "changed") {
    const { line, backend, mrenclave } = recognised.entry
    world.tell("WARNING: THE ENCLAVE HAS CHANGED. Somebody may be waiting for your passphrase.")
    throw refuse(
      "ATTEST_CHANGED",
      `${path}:${line} knows ${host} as ${backend} ${mrenclave}, it is ${seen.backend} ${seen.mrenclave}; if you changed it yourself, remove that line`,
    )
  }
  const before = recognised.kind === "follows" ? recognised.entry : null
  if (world.ask === null) {
    throw refuse(
      "ATTEST_UNKNOWN",
      before === null
        ? `${host} has the unknown enclave ${seen.mrenclave} and no terminal is available for the question; make a policy for --policy with \`tresor attest policy init\``
        : `${host} has another enclave than ${path}:${before.line} says, ${seen.mrenclave}, whose signer is no release key, and no terminal is available for the question; if you upgraded it, use --policy with a policy for it`,
    )
  }
  const what =
    before === null
      ? `The enclave of ${host} (${seen.backend}) is not known yet.`
      : `The enclave of ${host} (${seen.backend}) is another than before, as after an upgrade. No release key signed it: whoever has that machine can have made it.\nbefore    ${before.mrenclave}, version ${before.isvSvn}`
  const worth = vouched
    ? "Intel's certificates vouch for this measurement."
    : "Only that machine itself vouches for this measurement."
  const text = `${what}\nMRENCLAVE ${seen.mrenclave}\nMRSIGNER  ${seen.mrsigner}, product ${seen.isvProdId}, version ${seen.isvSvn}\n${compared(seen, own)}\n${worth}\n`
  if (!(await world.ask(text, "Give it the passphrase (yes/no)? "))) {
    throw refuse("ATTEST_DECLINED", "you did not accept it")
  }
  pin(path, host, seen, before)
}
