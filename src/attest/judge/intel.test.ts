/**
 * The verifier against Intel's own: 111 quotes that differ from a good one in
 * one thing, each with what Intel's quote verification library said of it
 * (commit 7e5b2a13, ../shared/sgx-data/public/synthetic-vs-intel-qvl.json). A
 * verdict is Intel's, or stricter for one of the reasons in STRICTER, which
 * docs/attestation.md gives too. Never the other way.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import {
  at,
  type Case,
  issued,
  judge,
  mrsigner,
  nextUpdate,
  base as ofProcessor,
} from "../../testing/synthetic-quote.ts"
import { type PlatformSpec, qeIdentityFor, qeReport, type TcbLevelSpec, tcbInfoFor } from "../gather/platform.ts"
import { ACCEPTABLE, type Policy } from "./policy.ts"
import { TCB_STATUSES } from "./tcb.ts"
import type { Verdict } from "./verify.ts"

const ADVISORY = "INTEL-SA-00001"
/** As lenient as can be: what is left is what the library judges. */
const lenient: Policy = {
  version: 1,
  mrsigner,
  isvProdId: 1,
  isvSvn: 3,
  tcb: [...ACCEPTABLE],
  advisories: [ADVISORY],
  testing: true,
}

const DAY_MS = 86_400_000
const days = (count: number): Date => new Date(at.getTime() + count * DAY_MS)
const far = { notBefore: new Date("2020-01-01"), notAfter: new Date("2040-01-01") }
const base: PlatformSpec = {
  ...ofProcessor,
  root: { ...ofProcessor.root, ...far },
  intermediate: { ...ofProcessor.intermediate, ...far, commonName: "Intel SGX PCK Platform CA" },
  leaf: { ...ofProcessor.leaf, ...far },
  tcbSigner: { ...ofProcessor.tcbSigner, ...far },
}
const pck = base.pck!

interface Synthetic {
  /** A TCB status when all is genuine, else the check that refuses. */
  readonly ours: string
  readonly case: Case
}

const spec = (ours: string, change: Partial<PlatformSpec>): Synthetic => ({
  ours,
  case: { spec: { ...base, ...change } },
})
const plain = (ours: string, change: Omit<Case, "spec">): Synthetic => ({ ours, case: { spec: base, ...change } })
const tcb = (ours: string, change: object): Synthetic => spec(ours, { tcbInfo: { ...base.tcbInfo, ...change } })
const identity = (ours: string, change: object): Synthetic =>
  spec(ours, { qeIdentity: { ...base.qeIdentity, ...change } })

/** A level that the platform reaches when `component` and `pceSvn` are not above 5 and 13. */
const level = (component: number, pceSvn: number, status: string, advisories?: readonly string[]): TcbLevelSpec => ({
  components: pck.components.map((svn, i) => (i === 15 ? component : svn)),
  pceSvn,
  status,
  ...(advisories === undefined ? {} : { advisories }),
})
const levels = (ours: string, ...list: readonly TcbLevelSpec[]): Synthetic =>
  spec(ours, { tcbInfo: tcbInfoFor(pck, issued, nextUpdate, list) })

const qe = (ours: string, change: (bytes: Uint8Array) => void): Synthetic => {
  const report = qeReport()
  change(report)
  return spec(ours, { qeReport: report })
}

const certification = (ours: string, type: number, length = 404): Synthetic =>
  plain(ours, { form: { certification: { type, data: new Uint8Array(length).fill(7) } } })

const oneDay = (from: number) => ({ issued: days(from), nextUpdate: days(from + 1) })
const role = (name: "root" | "intermediate" | "leaf" | "tcbSigner", ours: string, change: object): Synthetic =>
  spec(ours, { [name]: { ...base[name], ...change } })
const expired = { notAfter: days(-19) }
const notYet = { notBefore: days(6) }

/** Convergence: what Intel's library makes of a platform's status and a quoting enclave's. */
const WORSE: Readonly<Record<string, string>> = {
  UpToDate: "OutOfDate",
  SWHardeningNeeded: "OutOfDate",
  ConfigurationNeeded: "OutOfDateConfigurationNeeded",
  ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
}
function converged(status: string, qeStatus: string): string {
  if (qeStatus === "SWHardeningNeeded") return "qe-identity"
  if (qeStatus === "Revoked") return "Revoked"
  return qeStatus === "UpToDate" ? status : (WORSE[status] ?? status)
}
const convergence = TCB_STATUSES.flatMap((status) =>
  ["UpToDate", "OutOfDate", "Revoked", "ConfigurationNeeded", "SWHardeningNeeded"].map(
    (qeStatus): readonly [string, Synthetic] => {
      const made = qeIdentityFor(issued, nextUpdate, qeStatus)
      const qeIdentity = { ...made, tcbLevels: made.tcbLevels.map((each) => ({ ...each, advisoryIDs: [ADVISORY] })) }
      const tcbInfo = tcbInfoFor(pck, issued, nextUpdate, [level(5, 13, status, [ADVISORY])])
      return [`conv-${status}+QE-${qeStatus}`, spec(converged(status, qeStatus), { tcbInfo, qeIdentity })]
    },
  ),
)

const tcbInfoV2 = {
  ...base.tcbInfo,
  id: undefined,
  version: 2,
  tcbLevels: [
    {
      tcb: {
        pcesvn: 13,
        ...Object.fromEntries(pck.components.map((svn, i) => [`sgxtcbcomp${String(i + 1).padStart(2, "0")}svn`, svn])),
      },
      tcbDate: "2026-11-01T00:00:00Z",
      tcbStatus: "UpToDate",
    },
  ],
}

const put =
  (offset: number, ...values: readonly number[]) =>
  (bytes: Uint8Array) => {
    const copy = Uint8Array.from(bytes)
    copy.set(values, offset)
    return copy
  }

const withTail = (...tail: readonly number[]) => ({ quote: (bytes: Uint8Array) => Uint8Array.of(...bytes, ...tail) })
/** The certification data is last: PEM, a NUL, then `tail`. */
const chainTail = (ours: string, cut: number, tail: readonly number[]): Synthetic =>
  plain(ours, {
    quote: (bytes) => {
      const copy = Uint8Array.of(...bytes.subarray(0, bytes.length - cut), ...tail)
      const view = new DataView(copy.buffer)
      const added = tail.length - cut
      for (const lengthAt of [432, 1014 + base.authData.length + 2]) {
        view.setUint32(lengthAt, view.getUint32(lengthAt, true) + added, true)
      }
      return copy
    },
  })

const CASES: ReadonlyMap<string, Synthetic> = new Map<string, Synthetic>([
  ...convergence,
  ["akt-3", plain("quote", { quote: put(2, 3) })],
  ["at-1s-after", plain("root-crl", { evidence: { at: new Date(nextUpdate.getTime() + 1000) } })],
  ["at-exactly-issue", plain("UpToDate", { evidence: { at: issued } })],
  ["at-exactly-nextUpdate", plain("UpToDate", { evidence: { at: nextUpdate } })],
  ["auth-empty", spec("UpToDate", { authData: new Uint8Array(0) })],
  ["chain-3nul", chainTail("UpToDate", 0, [0, 0])],
  ["chain-garbage-after", chainTail("UpToDate", 0, [0x67, 0x61, 0x72])],
  ["chain-no-nul", chainTail("UpToDate", 1, [])],
  ["comp-255", spec("UpToDate", { pck: { ...pck, components: pck.components.map(() => 255) } })],
  ["comp16-low", levels("OutOfDate", level(6, 13, "UpToDate"), level(5, 13, "OutOfDate"))],
  ["crl-int-expired", spec("pck-crl", { pckCrl: oneDay(-20) })],
  ["crl-int-future", spec("pck-crl", { pckCrl: oneDay(5) })],
  ["crl-root-expired", spec("root-crl", { rootCrl: oneDay(-20) })],
  ["crl-root-future", spec("root-crl", { rootCrl: oneDay(5) })],
  ["ctype-0", certification("pck-chain", 0)],
  ["ctype-1", certification("UpToDate", 1, 36)],
  ["ctype-2", certification("UpToDate", 2, 276)],
  ["ctype-3", certification("UpToDate", 3)],
  ["ctype-4", certification("UpToDate", 4)],
  ["ctype-6", certification("pck-chain", 6)],
  ["ctype-7", certification("pck-chain", 7)],
  ["expired-intc", role("intermediate", "pck-validity", expired)],
  ["expired-leaf", role("leaf", "pck-validity", expired)],
  ["expired-rootc", role("root", "pck-validity", expired)],
  ["expired-tcbc", role("tcbSigner", "tcb-info", expired)],
  ["extra-cpusvn-differs", spec("UpToDate", { pck: { ...pck, cpuSvn: "ff".repeat(16) } })],
  ["isv-debug", plain("UpToDate", { body: (_, view) => view.setBigUint64(48, 7n, true) })],
  ["isv-provision", plain("attributes", { body: (_, view) => view.setBigUint64(48, 0x15n, true) })],
  ["leaf-no-sgx-ext", spec("pck-extension", { pck: null })],
  ["leaf-other-pceid", spec("tcb-info-platform", { pck: { ...pck, pceId: "0001" } })],
  ["levels-duplicate", levels("tcb-info", level(5, 13, "UpToDate"), level(5, 13, "OutOfDate"))],
  ["levels-empty", levels("tcb-info")],
  ["levels-unsorted-better-last", levels("UpToDate", level(4, 13, "OutOfDate"), level(5, 13, "UpToDate"))],
  ["levels-unsorted-worse-last", levels("OutOfDate", level(4, 13, "UpToDate"), level(5, 13, "OutOfDate"))],
  ["notyet-intc", role("intermediate", "pck-validity", notYet)],
  ["notyet-leaf", role("leaf", "pck-validity", notYet)],
  ["notyet-rootc", role("root", "pck-validity", notYet)],
  ["notyet-tcbc", role("tcbSigner", "tcb-info", notYet)],
  ["pceid-svn-of-header-other", plain("UpToDate", { form: { header: (view) => view.setUint32(8, 0x00630063, true) } })],
  ["pcesvn-65535", spec("UpToDate", { pck: { ...pck, pceSvn: 65535 } })],
  ["pcesvn-low", levels("OutOfDate", level(5, 14, "UpToDate"), level(5, 13, "OutOfDate"))],
  ["platform-below-all", levels("tcb-level", level(6, 13, "UpToDate"))],
  ["proc-ca", { ours: "UpToDate", case: { spec: { ...base, intermediate: { ...ofProcessor.intermediate, ...far } } } }],
  ["qe-attr-bits-outside-mask", identity("qe-report", { attributes: "15000000000000000000000000000000" })],
  ["qe-below-all", qe("qe-report", (bytes) => bytes.fill(7, 258, 259))],
  ["qe-debug", qe("qe-report", (bytes) => bytes.fill(0x17, 48, 49))],
  ["qe-expired", identity("qe-identity", { nextUpdate: days(-20).toISOString() })],
  ["qe-future", identity("qe-identity", { issueDate: days(7).toISOString() })],
  ["qe-id-QVE", identity("qe-identity", { id: "QVE" })],
  ["qe-id-TD_QE", identity("qe-identity", { id: "TD_QE" })],
  ["qe-misc-mismatch", qe("qe-report", (bytes) => bytes.fill(1, 16, 17))],
  ["qe-mrsigner", qe("qe-report", (bytes) => bytes.fill(0, 128, 160))],
  ["qe-prodid", qe("qe-report", (bytes) => bytes.fill(2, 256, 257))],
  [
    "qe-reportdata-tail-nonzero",
    spec("qe-report-data", { qeReportData: (right) => Uint8Array.of(...right.subarray(0, 63), 1) }),
  ],
  ["qe-version-3", identity("qe-identity", { version: 3 })],
  ["revoked-int", spec("pck-revocation", { revokedByRoot: [2] })],
  ["revoked-leaf", spec("pck-revocation", { revokedByIntermediate: [3] })],
  ["revoked-leaf-in-root-crl", spec("UpToDate", { revokedByRoot: [3] })],
  ["revoked-others", spec("UpToDate", { revokedByRoot: [77, 78], revokedByIntermediate: [79] })],
  ["revoked-tcb", spec("tcb-info", { revokedByRoot: [4] })],
  ["sgx-quote-v4", plain("UpToDate", { form: { version: 4 } })],
  ["sgx-quote-v5", plain("UpToDate", { form: { version: 5 } })],
  ["tail-nonzero", plain("quote", withTail(0, 1))],
  ["tail-zero", plain("UpToDate", withTail(0, 0, 0))],
  ["tcb-wrong-signer", plain("tcb-info", { bundle: { tcb_info_signature: "11".repeat(64) } })],
  ["tcbinfo-expired", tcb("tcb-info", { nextUpdate: days(-20).toISOString() })],
  ["tcbinfo-fmspc-upper", tcb("UpToDate", { fmspc: pck.fmspc.toUpperCase() })],
  ["tcbinfo-future", tcb("tcb-info", { issueDate: days(7).toISOString() })],
  ["tcbinfo-other-fmspc", tcb("tcb-info-platform", { fmspc: "00906ED50000" })],
  ["tcbinfo-other-pceid", tcb("tcb-info-platform", { pceId: "0001" })],
  ["tcbtype-1", tcb("tcb-info", { tcbType: 1 })],
  ["tdrelaunch-status", levels("tcb-info", level(5, 13, "TDRelaunchAdvised"))],
  ["unknown-status", levels("tcb-info", level(5, 13, "Unheard"))],
  ["unknown-status-in-lower-level", levels("tcb-info", level(5, 13, "UpToDate"), level(4, 13, "Unheard"))],
  ["v2-uptodate", { ours: "UpToDate", case: { spec: { ...base, tcbInfo: tcbInfoV2 } } }],
  ["v4-tee-tdx-header", plain("quote", { form: { version: 4, header: (view) => view.setUint32(4, 0x81, true) } })],
])

/** Where the verifier refuses and Intel's library does not, and why; the words stand in docs/attestation.md. */
const STRICTER: Readonly<Record<string, readonly string[]>> = {
  "not valid yet": ["notyet-intc", "notyet-leaf", "notyet-rootc", "notyet-tcbc", "qe-future", "tcbinfo-future"],
  "bytes behind the quote": ["tail-nonzero"],
  "REPORTDATA of the quoting enclave": ["qe-reportdata-tail-nonzero"],
  "no advisories named": ["comp16-low", "levels-unsorted-worse-last", "pcesvn-low"],
  PROVISIONKEY: ["isv-provision"],
}

const verdicts = new Map<Synthetic, Promise<Verdict>>()

function verdictOn(synthetic: Synthetic): Promise<Verdict> {
  const { case: change } = synthetic
  // A quote that carries no chain needs the leaf beside it.
  const carried = change.form?.certification === undefined
  const verdict =
    verdicts.get(synthetic) ??
    judge({ ...change, ...(carried ? {} : { carried: false }), evidence: { policy: lenient, ...change.evidence } })
  verdicts.set(synthetic, verdict)
  return verdict
}

/** All that speaks against it comes before the policy, or is the policy's lack of a reason. */
const outcome = ({ decidedBy, tcbStatus }: Verdict): string =>
  decidedBy === null || decidedBy === "tcb-status" || decidedBy === "advisories" ? tcbStatus! : decidedBy

test("every case comes out as it should", async () => {
  for (const [name, synthetic] of CASES) {
    const verdict = await verdictOn(synthetic)
    assert.equal(outcome(verdict), synthetic.ours, `${name}: ${verdict.reason}`)
    const refused = verdict.tcbStatus === "Revoked" || !TCB_STATUSES.some((status) => status === synthetic.ours)
    const unexplained = STRICTER["no advisories named"]!.includes(name)
    assert.equal(verdict.verdict, refused || unexplained ? "refused" : "accepted", `${name}: ${verdict.reason}`)
    if (unexplained) assert.match(verdict.reason, /no advisories are named/)
  }
})

const INTEL_STATUS: Readonly<Record<string, string>> = {
  OK: "UpToDate",
  TCB_OUT_OF_DATE: "OutOfDate",
  TCB_OUT_OF_DATE_CONFIGURATION_NEEDED: "OutOfDateConfigurationNeeded",
  TCB_SW_HARDENING_NEEDED: "SWHardeningNeeded",
  TCB_CONFIGURATION_NEEDED: "ConfigurationNeeded",
  TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED: "ConfigurationAndSWHardeningNeeded",
  TCB_REVOKED: "Revoked",
}

/** `null`: it refused one of the four things it is asked. */
function intelStatus(text: string): string | null {
  const [pckChain, tcbInfo, qeIdentity, quote] = ["pck", "tcb", "qe", "quote"].map(
    (part) => new RegExp(`(?:^| )${part}=(\\S+)`).exec(text)![1]!,
  )
  if ([pckChain, tcbInfo, qeIdentity].some((each) => each !== "OK")) return null
  return INTEL_STATUS[quote!] ?? null
}

test("Intel's library says the same, or less than is refused here on purpose", onPublishedData, async () => {
  const path = join(SGX_DATA, "public/synthetic-vs-intel-qvl.json")
  const { q } = JSON.parse(readFileSync(path, "utf8")) as { readonly q: Readonly<Record<string, string>> }
  assert.deepEqual([...CASES.keys()].sort(), Object.keys(q).sort(), "each case of the data is made here")
  const stricter: string[] = []
  for (const [name, synthetic] of CASES) {
    const verdict = await verdictOn(synthetic)
    const intel = intelStatus(q[name]!)
    if (verdict.verdict === "accepted") {
      assert.equal(verdict.tcbStatus, intel, `${name}: accepted, and Intel says ${q[name]}`)
    } else if (intel !== null && intel !== "Revoked") {
      stricter.push(name)
    }
  }
  assert.deepEqual(stricter.sort(), Object.values(STRICTER).flat().sort())
})

test("the document says where the verifier is stricter", () => {
  const text = readFileSync(fileURLToPath(new URL("../../../docs/attestation.md", import.meta.url)), "utf8")
  for (const reason of Object.keys(STRICTER)) assert.ok(text.includes(reason), reason)
})
