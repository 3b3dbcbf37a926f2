/**
 * Judges a quote: authenticity up to the pinned root in the order of Intel's
 * quote verification library, then the policy. The first check that fails
 * decides; what stands behind it is reported as not run. Works offline, reads
 * no clock, and runs in a browser.
 */
import { concat, equal, fromHex, isZero, sha256, toHex, verifyP256 } from "./bytes.ts"
import { type Crl, checkValidity, type PckExtension, parsePckExtension, type X509 } from "./certificates.ts"
import { checkNotRevoked, currentCrl, pckChain } from "./chain.ts"
import type { Collateral } from "./collateral.ts"
import { NO_POLICY, type Policy } from "./policy.ts"
import { parseQuote, type Quote, ReportFlag } from "./quote.ts"
import { Refusal } from "./refusal.ts"
import { type ReportBinding, reportDataFor } from "./report-data.ts"
import { signedQeIdentity, signedTcbInfo } from "./signed-json.ts"
import {
  type JudgedTcb,
  mergeStatus,
  platformStatus,
  type QeIdentity,
  qeStatus,
  type TcbInfo,
  type TcbStatus,
} from "./tcb.ts"

/** Key of "Intel SGX Root CA". Its two certificates (until 2033 and 2049) have the same. */
export const INTEL_ROOT_KEY: Uint8Array = fromHex(
  "040ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5" +
    "67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394",
)!

/** Root of the quotes that the software backend makes for tests. */
export const SOFTWARE_ROOT_NAME = "Tresor software test root"

/** In the order they are made. */
const CHECKS = [
  "quote",
  "collateral",
  "pck-chain",
  "root",
  "pck-validity",
  "root-crl",
  "pck-crl",
  "pck-revocation",
  "pck-extension",
  "tcb-info",
  "tcb-info-platform",
  "qe-identity",
  "qe-report-signature",
  "qe-report-data",
  "qe-report",
  "quote-signature",
  "tcb-level",
  "tcb-status",
  "advisories",
  "collateral-age",
  "debug",
  "attributes",
  "enclave",
  "report-data",
] as const
export type CheckName = (typeof CHECKS)[number]

export interface Check {
  readonly name: CheckName
  readonly result: "passed" | "failed" | "not run"
  /** The fact found, when failed. */
  readonly fact?: string
}

export interface Evidence {
  readonly quote: Uint8Array
  /** A Refusal is what came of reading it: the verdict then says so. */
  readonly collateral: Collateral | Refusal
  /** `null`: NO_POLICY, and the measurement is not judged. */
  readonly policy: Policy | null
  readonly at: Date
  /** 04 || x || y; Intel's unless a test says otherwise. */
  readonly rootKey?: Uint8Array
  /** `null`: REPORTDATA is not judged. Whoever will encrypt to the enclave must give it. */
  readonly binding: ReportBinding | null
  /** The highest TCB evaluation data number seen for such a platform; without: none was. */
  readonly seenNumber?: (platform: PlatformType) => SeenNumber | null
}

/** What TCB info is issued for. Hex. */
export type PlatformType = Pick<PckExtension, "fmspc" | "pceId">

export interface SeenNumber {
  readonly number: number
  /** Where that stands, for people. */
  readonly where: string
}

export interface Verdict {
  readonly verdict: "accepted" | "refused"
  /** One line. */
  readonly reason: string
  /** The check that refused. */
  readonly decidedBy: CheckName | null
  readonly tcbStatus: TcbStatus | null
  readonly advisories: readonly string[]
  /** The lower one of TCB info and QE identity; `null` before both are known to be Intel's. */
  readonly tcbEvaluationDataNumber: number | null
  /** Whose collateral that is. */
  readonly platform: PlatformType | null
  readonly mrenclave: string | null
  readonly mrsigner: string | null
  readonly isvProdId: number | null
  readonly isvSvn: number | null
  readonly debug: boolean | null
  readonly checks: readonly Check[]
}

/** What is known so far, whatever comes of it. */
interface Found {
  quote: Quote | null
  status: JudgedTcb | null
  platform: PlatformType | null
  dataNumber: number | null
}

/** Runs checks in CHECKS' order and remembers them. */
class Checklist {
  readonly #done: Check[] = []

  async run<T>(name: CheckName, body: () => T | Promise<T>): Promise<T> {
    if (CHECKS[this.#done.length] !== name) throw new RangeError(`check ${name} is out of order`)
    try {
      const value = await body()
      this.#done.push({ name, result: "passed" })
      return value
    } catch (error) {
      if (error instanceof Refusal) this.#done.push({ name, result: "failed", fact: error.message })
      throw error
    }
  }

  /** A check that does not apply. */
  skip(name: CheckName): void {
    this.#done.push({ name, result: "not run" })
  }

  get checks(): readonly Check[] {
    return CHECKS.map((name) => this.#done.find((check) => check.name === name) ?? { name, result: "not run" })
  }
}

export async function verifyQuote(evidence: Evidence): Promise<Verdict> {
  const record = new Checklist()
  const found: Found = { quote: null, status: null, platform: null, dataNumber: null }
  let reason = ""
  try {
    await authenticate(evidence, record, found)
    reason =
      evidence.policy === null
        ? "every check passed; without a policy, the identity of the enclave was not checked"
        : "every check passed"
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    reason = error.message
  }
  const failed = record.checks.find(({ result }) => result === "failed")
  const report = found.quote?.report
  return {
    verdict: failed === undefined ? "accepted" : "refused",
    reason,
    decidedBy: failed?.name ?? null,
    tcbStatus: found.status?.status ?? null,
    advisories: found.status?.advisories ?? [],
    tcbEvaluationDataNumber: found.dataNumber,
    platform: found.platform,
    mrenclave: report?.mrenclave ?? null,
    mrsigner: report?.mrsigner ?? null,
    isvProdId: report?.isvProdId ?? null,
    isvSvn: report?.isvSvn ?? null,
    debug: report?.debug ?? null,
    checks: record.checks,
  }
}

async function authenticate(
  { quote: quoteBytes, collateral: given, policy, at, rootKey = INTEL_ROOT_KEY, binding, seenNumber }: Evidence,
  record: Checklist,
  found: Found,
): Promise<void> {
  const quote = await record.run("quote", () => parseQuote(quoteBytes))
  found.quote = quote
  const collateral = await record.run("collateral", () => {
    if (given instanceof Refusal) throw given
    return given
  })

  const chain = await record.run("pck-chain", () => pckChain(quote, collateral, rootKey, at))
  await record.run("root", () => checkRoot(chain.root, rootKey))
  await record.run("pck-validity", () => {
    for (const certificate of [chain.root, chain.intermediate, chain.leaf]) checkValidity(certificate, at)
  })
  const rootCrl = await record.run("root-crl", () => currentCrl(collateral, chain.root, at))
  const pckCrl = await record.run("pck-crl", () => currentCrl(collateral, chain.intermediate, at))
  await record.run("pck-revocation", () => {
    checkNotRevoked(chain.intermediate, rootCrl)
    checkNotRevoked(chain.leaf, pckCrl)
  })
  const pck = await record.run("pck-extension", () => parsePckExtension(chain.leaf))

  const signer = { collateral, root: chain.root, rootCrl, at }
  const tcbInfo = await record.run("tcb-info", () => signedTcbInfo(pck, signer))
  await record.run("tcb-info-platform", () => checkSamePlatform(tcbInfo, pck))
  const qeIdentity = await record.run("qe-identity", () => signedQeIdentity(signer))
  found.platform = { fmspc: pck.fmspc, pceId: pck.pceId }
  found.dataNumber = Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber)
  const number = { now: found.dataNumber, seen: seenNumber?.(found.platform) ?? null }

  await record.run("qe-report-signature", async () => {
    if (!(await verifyP256(chain.leaf.publicKey, quote.qeReportBytes, quote.qeReportSignature))) {
      throw new Refusal("the quoting enclave's report is not signed by the PCK")
    }
  })
  await record.run("qe-report-data", async () => {
    const hash = await sha256(concat(quote.attestationKey, quote.authData))
    if (!equal(quote.qeReport.reportData, concat(hash, new Uint8Array(32)))) {
      throw new Refusal("the attestation key is not the one the quoting enclave certifies")
    }
  })
  const qe = await record.run("qe-report", () => qeStatus(qeIdentity, quote.qeReport))
  await record.run("quote-signature", async () => {
    if (!(await verifyP256(concat(Uint8Array.of(4), quote.attestationKey), quote.signed, quote.signature))) {
      throw new Refusal("the quote is not signed by its attestation key")
    }
  })
  const status = await record.run("tcb-level", () => mergeStatus(platformStatus(tcbInfo, pck), qe))
  found.status = status
  await applyPolicy(
    { policy, quote, status, tcbInfo, qeIdentity, crls: [rootCrl, pckCrl], number, at, binding },
    record,
  )
}

function checkRoot(root: X509, rootKey: Uint8Array): void {
  if (equal(root.publicKey, rootKey)) return
  if (root.commonName === SOFTWARE_ROOT_NAME) {
    throw new Refusal(
      `the quote was made by the software backend for tests ("${SOFTWARE_ROOT_NAME}"); it proves nothing`,
    )
  }
  throw new Refusal(`the root certificate "${root.commonName}" does not have the pinned key`)
}

function checkSamePlatform(info: TcbInfo, pck: PckExtension): void {
  if (info.fmspc !== pck.fmspc)
    throw new Refusal(`the TCB info is for FMSPC ${info.fmspc}, the platform is ${pck.fmspc}`)
  if (info.pceId !== pck.pceId)
    throw new Refusal(`the TCB info is for PCE-ID ${info.pceId}, the platform's is ${pck.pceId}`)
}

const DAY_MS = 86_400_000

interface Judged {
  readonly policy: Policy | null
  readonly quote: Quote
  readonly status: JudgedTcb
  readonly tcbInfo: TcbInfo
  readonly qeIdentity: QeIdentity
  readonly crls: readonly Crl[]
  readonly number: { readonly now: number; readonly seen: SeenNumber | null }
  readonly at: Date
  readonly binding: ReportBinding | null
}

async function applyPolicy(judged: Judged, record: Checklist): Promise<void> {
  const { quote, status, tcbInfo, qeIdentity, crls, number, at, binding } = judged
  const policy = judged.policy ?? NO_POLICY
  const { report } = quote
  await record.run("tcb-status", () => {
    // "Revoked" can be in no policy.
    if (!(policy.tcb as readonly TcbStatus[]).includes(status.status)) {
      throw new Refusal(
        `the platform's TCB status is ${status.status}${listed(status.advisories)}; the policy accepts ${policy.tcb.join(", ")}`,
      )
    }
  })
  await record.run("advisories", () => {
    if (status.status === "UpToDate") return
    if (status.unexplained) throw new Refusal(unexplained(status, tcbInfo))
    const open = status.advisories.filter((advisory) => !policy.advisories.includes(advisory))
    if (open.length > 0) throw new Refusal(`the policy does not accept ${open.join(", ")}`)
  })
  await record.run("collateral-age", () => {
    const oldest = Math.min(
      tcbInfo.issueDate.getTime(),
      qeIdentity.issueDate.getTime(),
      ...crls.map((crl) => crl.thisUpdate.getTime()),
    )
    const days = (at.getTime() - oldest) / DAY_MS
    if (policy.maxCollateralAgeDays !== undefined && days > policy.maxCollateralAgeDays) {
      throw new Refusal(
        `the collateral is ${Math.floor(days)} days old; the policy accepts ${policy.maxCollateralAgeDays}`,
      )
    }
    const least = policy.minTcbEvaluationDataNumber
    if (least !== undefined && number.now < least) {
      throw new Refusal(`the collateral's TCB evaluation data number is ${number.now}; the policy requires ${least}`)
    }
    if (number.seen !== null && number.now < number.seen.number) {
      throw new Refusal(
        `the collateral's TCB evaluation data number is ${number.now}; ${number.seen.number} was seen for such a platform before (${number.seen.where}): get newer collateral`,
      )
    }
  })
  await record.run("debug", () => {
    if (report.debug && !policy.testing) {
      throw new Refusal("the enclave is a DEBUG enclave, whose memory its host can read")
    }
  })
  if (judged.policy === null) {
    record.skip("attributes")
    record.skip("enclave")
  } else {
    await checkIdentity(judged.policy, quote, record)
  }
  if (binding === null) {
    record.skip("report-data")
  } else {
    await record.run("report-data", async () => {
      if (!equal(report.reportData, await reportDataFor(binding))) {
        const fact = isZero(report.reportData)
          ? "the report binds nothing"
          : `the report binds ${toHex(report.reportData)}`
        throw new Refusal(`${fact}, not this public key and nonce`)
      }
    })
  }
}

async function checkIdentity(policy: Policy, quote: Quote, record: Checklist): Promise<void> {
  const { report } = quote
  await record.run("attributes", () => {
    if ((report.attributes & ReportFlag.provisionKey) !== 0n) throw new Refusal("the enclave may use provisioning keys")
    const wanted = ReportFlag.init | ReportFlag.mode64
    if ((report.attributes & wanted) !== wanted && !policy.testing) {
      throw new Refusal("the enclave's ATTRIBUTES lack INIT or MODE64BIT")
    }
  })
  await record.run("enclave", () => checkEnclave(policy, quote))
}

/** A policy that accepts a list of advisories does not accept collateral that names none. */
function unexplained({ status }: JudgedTcb, { version }: TcbInfo): string {
  return version === 2
    ? `TCB info of version 2 names no advisories, so the reason why the platform is ${status} is unknown; get version 3, of Intel's PCS v4`
    : `no advisories are named, so the reason why the platform is ${status} is unknown`
}

function listed(advisories: readonly string[]): string {
  return advisories.length === 0 ? "" : ` (${advisories.join(", ")})`
}

function checkEnclave(policy: Policy, { report }: Quote): void {
  if (policy.mrenclave !== undefined && !policy.mrenclave.includes(report.mrenclave)) {
    throw new Refusal(`the policy does not list MRENCLAVE ${report.mrenclave}`)
  }
  if (policy.mrsigner === undefined) return
  if (policy.mrsigner !== report.mrsigner) throw new Refusal(`the enclave's MRSIGNER is ${report.mrsigner}`)
  if (policy.isvProdId !== report.isvProdId) throw new Refusal(`the enclave's ISVPRODID is ${report.isvProdId}`)
  if (report.isvSvn < policy.isvSvn!) {
    throw new Refusal(`the enclave's ISVSVN is ${report.isvSvn}; the policy requires at least ${policy.isvSvn}`)
  }
}
