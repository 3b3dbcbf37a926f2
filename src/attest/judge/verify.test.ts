import assert from "node:assert/strict"
import { createHash, generateKeyPairSync } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import {
  at,
  base,
  binding,
  body,
  type Case,
  issued,
  judge,
  mrenclave,
  mrsigner,
  nextUpdate,
  policy,
  rootPair,
} from "../../testing/synthetic-quote.ts"
import { readCollateral } from "../gather/collateral-files.ts"
import { makePlatform, newKey, type PlatformSpec, qeIdentityFor, qeReport, tcbInfoFor } from "../gather/platform.ts"
import { softwareQuote } from "../gather/software-quote.ts"
import { fromHex, toHex, viewOf } from "./bytes.ts"
import { parseRootKey } from "./certificates.ts"
import { innerObject, parseBundle, parseFiles } from "./collateral.ts"
import { type Policy, parsePolicy, policyFor } from "./policy.ts"
import { parseQuote } from "./quote.ts"
import { reportDataFor } from "./report-data.ts"
import { mergeStatus, type TcbStatus } from "./tcb.ts"
import { type CheckName, type Evidence, INTEL_ROOT_KEY, verifyQuote } from "./verify.ts"

const sample = join(SGX_DATA, "quote-test-root")
const folder = mkdtempSync(join(tmpdir(), "tresor-attest-"))
after(() => rmSync(folder, { recursive: true }))

test("a policy with a restriction twice is refused: which one counts would be anybody's guess", () => {
  const text = `{"mrenclave":"${"00".repeat(32)}","testing":false,"testing":true}`
  assert.throws(() => parsePolicy(text), /has the name "testing" twice in one object/)
})

async function refused(name: CheckName, fact: RegExp, change: Case): Promise<void> {
  const verdict = await judge(change)
  assert.equal(verdict.decidedBy, name, `${fact}: ${verdict.reason}`)
  assert.equal(verdict.verdict, "refused")
  assert.match(verdict.reason, fact)
  const results = verdict.checks.map(({ result }) => result)
  const failed = results.indexOf("failed")
  assert.ok(results.slice(0, failed).every((result) => result === "passed"))
  assert.ok(results.slice(failed + 1).every((result) => result === "not run"))
}

const flip = (offset: number) => (bytes: Uint8Array) =>
  bytes.map((byte, i) => (i === (offset + bytes.length) % bytes.length ? byte ^ 1 : byte))
const put =
  (offset: number, ...values: readonly number[]) =>
  (bytes: Uint8Array) => {
    const copy = Uint8Array.from(bytes)
    copy.set(values, offset)
    return copy
  }
const flipHex = (text: string) => `${text[0] === "0" ? "1" : "0"}${text.slice(1)}`

test("the synthetic platform is accepted, every check passed", async () => {
  const verdict = await judge()
  assert.equal(verdict.reason, "every check passed")
  assert.equal(verdict.verdict, "accepted")
  assert.ok(verdict.checks.every(({ result }) => result === "passed"))
  assert.deepEqual(
    [verdict.tcbStatus, verdict.mrenclave, verdict.mrsigner, verdict.isvProdId, verdict.isvSvn, verdict.debug],
    ["UpToDate", mrenclave, mrsigner, 1, 3, false],
  )
  assert.equal(verdict.tcbEvaluationDataNumber, 17)
})

test("Intel's sample data: up to date under its root, refused under Intel's", onPublishedData, async () => {
  const zero: Policy = parsePolicy(JSON.stringify({ version: 1, mrenclave: ["00".repeat(32)], testing: true }))
  const evidence: Evidence = {
    quote: readFileSync(join(sample, "quote.dat")),
    collateral: readCollateral(sample),
    policy: zero,
    at: new Date(1_700_000_000_000),
    rootKey: parseRootKey(readFileSync(join(sample, "trustedRootCaCert.pem"))),
    binding: null,
  }
  const own = await verifyQuote(evidence)
  assert.deepEqual(
    [own.verdict, own.tcbStatus, own.tcbEvaluationDataNumber],
    ["accepted", "UpToDate", 0],
    "the QE identity's is 0",
  )
  const intel = await verifyQuote({ ...evidence, rootKey: INTEL_ROOT_KEY })
  assert.deepEqual([intel.verdict, intel.decidedBy], ["refused", "root"])
  const late = await verifyQuote({ ...evidence, at: new Date("2027-01-01") })
  assert.equal(late.decidedBy, "pck-validity")
  const strict = await verifyQuote({ ...evidence, policy: { ...zero, testing: false } })
  assert.equal(strict.decidedBy, "attributes", "an all-zero report is no production enclave's")
})

test("what the standard allows is accepted", async () => {
  const accepted = async (change: Case) => assert.equal((await judge(change)).reason, "every check passed")
  for (const length of [0, 1, 32, 1000, 65535]) await accepted({ spec: { authData: new Uint8Array(length).fill(1) } })
  await accepted({ quote: (quote) => put(0)(new Uint8Array([...quote, ...new Uint8Array(4096)])) })
  // The PEM chain without its trailing NUL.
  await accepted({
    quote: (quote) => {
      const end = quote.subarray(0, -1)
      const bytes = Uint8Array.from(end)
      const view = viewOf(bytes)
      view.setUint32(432, view.getUint32(432, true) - 1, true)
      const sizeAt = 1012 + 2 + base.authData.length + 2
      view.setUint32(sizeAt, view.getUint32(sizeAt, true) - 1, true)
      return bytes
    },
  })
  // Another root certificate with the same key, as Intel has.
  const later = await makePlatform(
    { ...base, root: { ...base.root, serial: 99, notAfter: new Date("2049-12-31") } },
    rootPair,
  )
  const platform = await makePlatform(base, rootPair)
  const chain = platform.bundle["tcb_info_issuer_chain"]!.replace(platform.rootCertificate, later.rootCertificate)
  assert.notEqual(chain, platform.bundle["tcb_info_issuer_chain"])
  const collateral = parseBundle(JSON.stringify({ ...platform.bundle, tcb_info_issuer_chain: chain }))
  const verdict = await verifyQuote({
    quote: await platform.quote(await body()),
    collateral,
    policy,
    at,
    rootKey: platform.rootKey,
    binding,
  })
  assert.equal(verdict.verdict, "accepted")
})

test("quote: every header field and length", async () => {
  const lengthAt = 1012
  const cases: readonly (readonly [(quote: Uint8Array) => Uint8Array, RegExp])[] = [
    [put(0, 6), /version 6; 3, 4 and 5 are known/],
    [put(2, 3), /key type is 3/],
    [put(4, 0x81), /TEE type 0x81/],
    [flip(12), /QE vendor/],
    [(q) => q.subarray(0, 1000), /cut short: the signature data/],
    [(q) => q.subarray(0, 400), /cut short: the report/],
    [(q) => q.subarray(0, -1), /cut short: the signature data/],
    [(q) => Uint8Array.of(...q, 0, 1), /not padding/],
    [put(432, 0), /not padding|certification data/],
    [put(lengthAt, 0xff, 0xff), /cut short: the authentication data/],
    [put(lengthAt, 31), /certification data/],
    [put(lengthAt + 2 + 32 + 2, 0), /certification data ends \d+ bytes before/],
    [put(0, 4), /certification data/],
    [put(0, 5), /body is of type/],
  ]
  for (const [quote, fact] of cases) await refused("quote", fact, { quote })
})

test("PCK chain: names, rights, signatures, types", async () => {
  const end = 1014 + base.authData.length
  const leaf = (change: Partial<PlatformSpec["leaf"]>) => ({ spec: { leaf: { ...base.leaf, ...change } } })
  const ca = (change: Partial<PlatformSpec["leaf"]>) => ({
    spec: { intermediate: { ...base.intermediate, ...change } },
  })
  await refused("pck-chain", /no certificate "Intel SGX PCK Certificate"/, leaf({ commonName: "Somebody" }))
  await refused("pck-chain", /is a CA/, leaf({ ca: true }))
  await refused("pck-chain", /may not sign/, leaf({ keyUsage: 0x20 }))
  await refused("pck-chain", /issued by "Other CA"/, ca({ commonName: "Other CA" }))
  await refused("pck-chain", /is not a CA certificate/, ca({ ca: false }))
  await refused("pck-chain", /may not sign certificates/, ca({ keyUsage: 0x02 }))
  await refused("pck-chain", /is not a CA certificate/, { spec: { root: { ...base.root, ca: false } } })
  await refused("pck-chain", /of type 6/, { quote: put(end, 6) })
  await refused("pck-chain", /collateral/, { quote: put(end, 1) })
  await refused("pck-chain", /not base64|not DER|no certificate|P-256|not signed/, {
    quote: put(end + 6 + 200, 0x42, 0x42, 0x42, 0x42),
  })
  const other = await makePlatform(base, rootPair)
  const platform = await makePlatform(base, rootPair)
  const swap = async (from: string, to: string) => {
    const quote = await platform.quote(await body())
    const text = platform.pckChain.replace(from, to)
    const bytes = Buffer.concat([quote.subarray(0, end + 6), Buffer.from(text), Buffer.of(0)])
    bytes.writeUInt32LE(text.length + 1, end + 2)
    bytes.writeUInt32LE(bytes.length - 436, 432)
    return verifyQuote({
      quote: bytes,
      collateral: parseBundle(JSON.stringify(platform.bundle)),
      policy,
      at,
      rootKey: platform.rootKey,
      binding,
    })
  }
  const certificates = (chain: string) => chain.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g)!
  const [ours, theirs] = [certificates(platform.pckChain), certificates(other.pckChain)]
  const mixed = await swap(ours[1]!, theirs[1]!)
  assert.deepEqual(
    [mixed.decidedBy, mixed.reason],
    ["pck-chain", 'the certificate "Intel SGX PCK Certificate" is not signed by "Intel SGX PCK Processor CA"'],
  )
  assert.equal((await swap(ours[0]!, ours[0]!)).verdict, "accepted", "the splice itself is sound")
})

test("root: the key is pinned, not the name", async () => {
  await refused("root", /"Test Root" does not have the pinned key/, { evidence: { rootKey: INTEL_ROOT_KEY } })
  const spec = { root: { ...base.root, commonName: "Intel SGX Root CA" } }
  await refused("root", /"Intel SGX Root CA" does not have/, { spec, evidence: { rootKey: INTEL_ROOT_KEY } })
})

test("validity: every certificate, both ends", async () => {
  const early = { notBefore: new Date("2026-11-24") }
  const late = { notAfter: new Date("2026-11-22") }
  for (const role of ["root", "intermediate", "leaf"] as const) {
    await refused("pck-validity", /not valid before/, { spec: { [role]: { ...base[role], ...early } } })
    await refused("pck-validity", /expired/, { spec: { [role]: { ...base[role], ...late } } })
  }
  await refused("tcb-info", /TCB Signing" expired/, { spec: { tcbSigner: { ...base.tcbSigner, ...late } } })
  await refused("tcb-info", /not valid before/, { spec: { tcbSigner: { ...base.tcbSigner, ...early } } })
})

test("CRLs: there, signed, current, and obeyed", async () => {
  const { bundle } = await makePlatform(base, rootPair)
  await refused("pck-crl", /not signed by its issuer/, { bundle: { pck_crl: bundle["pck_crl"]! } })
  await refused("root-crl", /no CRL of "Test Root"/, { bundle: { root_ca_crl: bundle["pck_crl"]! } })
  await refused("pck-crl", /no CRL of "Intel SGX PCK Processor CA"/, { bundle: { pck_crl: bundle["root_ca_crl"]! } })
  const foreign = await makePlatform(base, await newKey())
  await refused("root-crl", /not signed/, { bundle: { root_ca_crl: foreign.bundle["root_ca_crl"]! } })
  const stale = await makePlatform({ ...base, nextUpdate: new Date("2026-11-20") }, rootPair)
  await refused("root-crl", /expired/, { bundle: { root_ca_crl: stale.bundle["root_ca_crl"]! } })
  const future = await makePlatform({ ...base, issued: new Date("2026-11-24") }, rootPair)
  await refused("root-crl", /not valid before/, { bundle: { root_ca_crl: future.bundle["root_ca_crl"]! } })
  await refused("root-crl", /may not sign CRLs/, { spec: { root: { ...base.root, keyUsage: 0x04 } } })
  await refused("pck-crl", /may not sign CRLs/, { spec: { intermediate: { ...base.intermediate, keyUsage: 0x04 } } })
  await refused("pck-revocation", /Processor CA" \(serial 02\) is revoked/, { spec: { revokedByRoot: [2] } })
  await refused("pck-revocation", /PCK Certificate" \(serial 03\)/, { spec: { revokedByIntermediate: [3] } })
  await refused("tcb-info", /TCB Signing" \(serial 04\) is revoked/, { spec: { revokedByRoot: [4] } })
  assert.equal((await judge({ spec: { revokedByRoot: [3], revokedByIntermediate: [2, 4] } })).verdict, "accepted")
})

test("PCK extension", async () => {
  await refused("pck-extension", /no SGX extension/, { spec: { pck: null } })
  const pck = base.pck!
  await refused("pck-extension", /FMSPC/, { spec: { pck: { ...pck, fmspc: "00606a0000" } } })
  await refused("pck-extension", /PCE-ID/, { spec: { pck: { ...pck, pceId: "000000" } } })
  await refused("pck-extension", /component 1/, {
    spec: { pck: { ...pck, components: [-1, ...pck.components.slice(1)] } },
  })
  await refused("pck-extension", /PCESVN/, { spec: { pck: { ...pck, pceSvn: 65536 } } })
})

test("TCB info: signature over the exact bytes, fields, dates, platform", async () => {
  const edit = (change: object) => ({ spec: { tcbInfo: { ...base.tcbInfo, ...change } } })
  await refused("tcb-info", /not signed by "Intel SGX TCB Signing"/, {
    bundle: { tcb_info: `${JSON.stringify(base.tcbInfo)} ` },
  })
  const { bundle } = await makePlatform(base, rootPair)
  await refused("tcb-info", /not signed/, { bundle: { tcb_info_signature: flipHex(bundle["tcb_info_signature"]!) } })
  await refused("tcb-info", /no certificate "Intel SGX TCB Signing"/, {
    spec: { tcbSigner: { ...base.tcbSigner, commonName: "Else" } },
  })
  await refused("tcb-info", /is a CA/, { spec: { tcbSigner: { ...base.tcbSigner, ca: true } } })
  await refused("tcb-info", /may not sign/, { spec: { tcbSigner: { ...base.tcbSigner, keyUsage: 0 } } })
  const rogue = await makePlatform(base, await newKey())
  const theirs = ["tcb_info_issuer_chain", "tcb_info", "tcb_info_signature"].map((key) => [key, rogue.bundle[key]!])
  await refused("tcb-info", /TCB Signing" is not signed by "Test Root"/, { bundle: Object.fromEntries(theirs) })
  await refused("tcb-info", /bad version/, edit({ version: 4 }))
  await refused("tcb-info", /is for "TDX", not "SGX"/, edit({ id: "TDX" }))
  await refused("tcb-info", /bad tcbType/, edit({ tcbType: 1 }))
  await refused(
    "tcb-info",
    /bad tcbLevels/,
    edit({ tcbLevels: [{ tcb: { pcesvn: 1, sgxtcbcomponents: [] }, tcbStatus: "UpToDate" }] }),
  )
  await refused("tcb-info", /issued only at/, edit({ issueDate: "2026-11-24T00:00:00Z" }))
  await refused("tcb-info", /TCB info expired/, edit({ nextUpdate: "2026-11-22T00:00:00Z" }))
  await refused("tcb-info-platform", /FMSPC 00606a000001/, edit({ fmspc: "00606A000001" }))
  await refused("tcb-info-platform", /PCE-ID 0100/, edit({ pceId: "0100" }))
})

test("QE identity: signature, fields, dates", async () => {
  const edit = (change: object) => ({ spec: { qeIdentity: { ...base.qeIdentity, ...change } } })
  const { bundle } = await makePlatform(base, rootPair)
  await refused("qe-identity", /not signed/, {
    bundle: { qe_identity_signature: flipHex(bundle["qe_identity_signature"]!) },
  })
  await refused("qe-identity", /not signed/, { bundle: { qe_identity: `${JSON.stringify(base.qeIdentity)}\n` } })
  await refused("qe-identity", /is for "TD_QE", not "QE"/, edit({ id: "TD_QE" }))
  await refused("qe-identity", /bad version/, edit({ version: 1 }))
  await refused("qe-identity", /issued only at/, edit({ issueDate: "2026-11-24T00:00:00Z" }))
  await refused("qe-identity", /expired/, edit({ nextUpdate: "2026-11-22T00:00:00Z" }))
  await refused("qe-report", /MISCSELECT/, edit({ miscselect: "01000000" }))
  await refused("qe-report", /ATTRIBUTES/, edit({ attributes: "13000000000000000000000000000000" }))
  await refused("qe-report", /MRSIGNER/, edit({ mrsigner: "00".repeat(32) }))
  await refused("qe-report", /ISVPRODID/, edit({ isvprodid: 2 }))
  const level = (isvsvn: number, tcbStatus = "UpToDate") => ({
    tcb: { isvsvn },
    tcbDate: "2026-11-01T00:00:00Z",
    tcbStatus,
  })
  await refused("qe-report", /below every level/, edit({ tcbLevels: [level(9)] }))
  await refused("qe-identity", /no TCB level/, edit({ tcbLevels: [] }))
  await refused("qe-identity", /do not fall/, edit({ tcbLevels: [level(6, "OutOfDate"), level(8)] }))
  await refused("qe-identity", /do not fall/, edit({ tcbLevels: [level(8), level(8, "OutOfDate")] }))
  // A masked report has none of the bits outside the mask: an identity that sets one is of no enclave.
  await refused("qe-report", /ATTRIBUTES/, edit({ attributes: "15000000000000000000000000000000" }))
  await refused("qe-report", /MISCSELECT/, edit({ miscselect: "01000000", miscselectMask: "FEFFFFFF" }))
  const otherwise = qeReport()
  otherwise[48]! |= 4
  assert.equal((await judge({ spec: { qeReport: otherwise } })).verdict, "accepted", "the report's may be either way")
})

test("QE report and quote signature: each byte is covered", async () => {
  await refused("qe-report-signature", /not signed by the PCK/, { quote: flip(564 + 300) })
  await refused("qe-report-signature", /not signed by the PCK/, { quote: flip(948) })
  await refused("qe-report-data", /certifies/, { quote: flip(500) })
  await refused("qe-report-data", /certifies/, { quote: flip(1014) })
  await refused("qe-report-data", /certifies/, { spec: { qeReportData: new Uint8Array(64) } })
  const report = qeReport()
  viewOf(report).setUint16(258, 7, true)
  await refused("qe-report", /ISVSVN 7 is below/, { spec: { qeReport: report } })
  await refused("quote-signature", /not signed by its attestation key/, { quote: flip(48 + 64) })
  await refused("quote-signature", /not signed/, { quote: flip(8) })
  await refused("quote-signature", /not signed/, { quote: flip(436) })
})

test("TCB level: the certificate's components decide, first level reached", async () => {
  const pck = base.pck!
  const level = (component: number, pceSvn: number, status: string, advisories?: readonly string[]) => ({
    components: pck.components.map((svn, i) => (i === 15 ? component : svn)),
    pceSvn,
    status,
    ...(advisories === undefined ? {} : { advisories }),
  })
  const levels = (...list: readonly ReturnType<typeof level>[]) => ({
    spec: { tcbInfo: tcbInfoFor(pck, issued, nextUpdate, list) },
  })
  await refused("tcb-level", /below every level/, levels(level(6, 13, "UpToDate")))
  await refused("tcb-level", /below every level/, levels(level(5, 14, "UpToDate")))
  await refused(
    "tcb-status",
    /OutOfDate \(INTEL-SA-00001\)/,
    levels(level(6, 13, "UpToDate"), level(5, 13, "OutOfDate", ["INTEL-SA-00001"])),
  )
  await refused("tcb-status", /is Revoked/, levels(level(5, 13, "Revoked")))
  const hardening = levels(level(5, 13, "SWHardeningNeeded", ["INTEL-SA-00615", "INTEL-SA-00334"]))
  await refused("tcb-status", /SWHardeningNeeded/, hardening)
  const lenient = parsePolicy(
    JSON.stringify({ ...policy, tcb: ["UpToDate", "SWHardeningNeeded"], advisories: ["INTEL-SA-00615"] }),
  )
  await refused("advisories", /does not accept INTEL-SA-00334$/, { ...hardening, evidence: { policy: lenient } })
  const both = { ...lenient, advisories: [...lenient.advisories, "INTEL-SA-00334"] }
  const verdict = await judge({ ...hardening, evidence: { policy: both } })
  assert.deepEqual([verdict.verdict, verdict.advisories], ["accepted", ["INTEL-SA-00334", "INTEL-SA-00615"]])
  await refused("tcb-status", /is OutOfDate/, { spec: { qeIdentity: qeIdentityFor(issued, nextUpdate, "OutOfDate") } })
  await refused("tcb-status", /is Revoked/, { spec: { qeIdentity: qeIdentityFor(issued, nextUpdate, "Revoked") } })
  await refused("tcb-status", /is OutOfDate/, {
    spec: { qeIdentity: qeIdentityFor(issued, nextUpdate, "ConfigurationNeeded") },
  })
  await refused("qe-identity", /bad tcbLevels.0.tcbStatus/, {
    spec: { qeIdentity: qeIdentityFor(issued, nextUpdate, "SWHardeningNeeded") },
  })
  // The report's CPUSVN is another encoding and must play no part.
  assert.equal((await judge({ body: (bytes) => bytes.fill(0xff, 0, 16) })).verdict, "accepted")
})

test("merging the platform's status with the quoting enclave's", () => {
  const merge = (platform: TcbStatus, qe: TcbStatus) =>
    mergeStatus(
      { status: platform, advisories: ["B"], unexplained: false },
      { status: qe, advisories: ["A", "B"], unexplained: false },
    )
  const table: readonly (readonly [TcbStatus, TcbStatus, TcbStatus])[] = [
    ["UpToDate", "UpToDate", "UpToDate"],
    ["ConfigurationNeeded", "UpToDate", "ConfigurationNeeded"],
    ["UpToDate", "OutOfDate", "OutOfDate"],
    ["SWHardeningNeeded", "OutOfDate", "OutOfDate"],
    ["ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"],
    ["ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"],
    ["OutOfDate", "OutOfDate", "OutOfDate"],
    ["OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"],
    ["UpToDate", "ConfigurationNeeded", "OutOfDate"],
    ["ConfigurationNeeded", "OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded"],
    ["UpToDate", "Revoked", "Revoked"],
    ["Revoked", "OutOfDate", "Revoked"],
    ["Revoked", "UpToDate", "Revoked"],
  ]
  for (const [platform, qe, merged] of table) assert.equal(merge(platform, qe).status, merged)
  assert.deepEqual(merge("UpToDate", "UpToDate").advisories, ["A", "B"])
})

test("policy: enclave, DEBUG, attributes, binding, age", async () => {
  await refused("debug", /DEBUG enclave/, { body: (_, view) => view.setBigUint64(48, 7n, true) })
  const testing = { ...policy, testing: true }
  const debug = await judge({ body: (_, view) => view.setBigUint64(48, 7n, true), evidence: { policy: testing } })
  assert.deepEqual([debug.verdict, debug.debug], ["accepted", true])
  await refused("attributes", /provisioning/, {
    body: (_, v) => v.setBigUint64(48, 0x15n, true),
    evidence: { policy: testing },
  })
  await refused("attributes", /INIT or MODE64/, { body: (_, view) => view.setBigUint64(48, 1n, true) })
  await refused("enclave", /MRSIGNER/, { body: flipAt(128) })
  await refused("enclave", /ISVPRODID is 0/, { body: flipAt(256) })
  await refused("enclave", /ISVSVN is 2; the policy requires at least 3/, { body: flipAt(258) })
  assert.equal((await judge({ body: (_, view) => view.setUint16(258, 4, true) })).verdict, "accepted", "newer is fine")
  assert.equal((await judge({ body: flipAt(64) })).verdict, "accepted", "MRENCLAVE is not in this policy")
  const exact = parsePolicy(JSON.stringify({ version: 1, mrenclave: ["00".repeat(32), mrenclave.toUpperCase()] }))
  assert.equal((await judge({ evidence: { policy: exact } })).verdict, "accepted")
  await refused("enclave", /does not list MRENCLAVE/, { body: flipAt(64), evidence: { policy: exact } })
  await refused("report-data", /not this public key and nonce/, { body: flipAt(351) })
  await refused("report-data", /not this public key/, { body: flipAt(383) })
  await refused("report-data", /binds nothing/, { body: (bytes) => bytes.fill(0, 320) })
  const other = { ...binding, nonce: new Uint8Array(32) }
  await refused("report-data", /not this public key/, { evidence: { binding: other } })
  await refused("report-data", /not this public key/, { evidence: { binding: { ...binding, publicKey: other.nonce } } })
  await refused("collateral-age", /22 days old; the policy accepts 7/, {
    evidence: { policy: { ...policy, maxCollateralAgeDays: 7 } },
  })
  await refused("collateral-age", /number is 17; the policy requires 18/, {
    evidence: { policy: { ...policy, minTcbEvaluationDataNumber: 18 } },
  })
})

function flipAt(offset: number) {
  return (bytes: Uint8Array) => {
    bytes[offset]! ^= 1
  }
}

test("REPORTDATA is what the enclave's header says", async () => {
  const expected = createHash("sha256")
    .update("tresor report v1")
    .update(binding.publicKey)
    .update(binding.nonce)
    .digest("hex")
  assert.equal(toHex(await reportDataFor(binding)), expected + "00".repeat(32))
})

test("policy files: nothing vague is accepted", () => {
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [{ version: 1 }, /neither mrenclave nor mrsigner/],
    [{ version: 2, mrenclave: [mrenclave] }, /version/],
    [{ version: 1, mrenclave: [] }, /mrenclave/],
    [{ version: 1, mrenclave: ["abc"] }, /64 hex/],
    [{ version: 1, mrsigner }, /belong together/],
    [{ version: 1, mrenclave: [mrenclave], isvSvn: 2 }, /belong together/],
    [{ version: 1, mrenclave: [mrenclave], tcb: ["Revoked"] }, /tcb/],
    [{ version: 1, mrenclave: [mrenclave], mrsinger: mrsigner }, /mrsinger/],
    [{ version: 1, mrenclave: [mrenclave], testing: "no" }, /testing/],
  ]
  for (const [value, fact] of bad) {
    assert.throws(() => parsePolicy(JSON.stringify(value)), { code: "ATTEST_BAD_POLICY", message: fact })
  }
  assert.throws(() => parsePolicy("{"), { code: "ATTEST_BAD_POLICY" })
  const identity = { mrenclave, mrsigner, isvProdId: 1, isvSvn: 3, debug: false }
  for (const by of ["mrenclave", "mrsigner"] as const) {
    assert.deepEqual(parsePolicy(JSON.stringify(policyFor(identity, by))), policyFor(identity, by))
  }
})

test("collateral is recognised by content, whatever the names and dress", async () => {
  const platform = await makePlatform(base, rootPair)
  const { bundle } = platform
  const text = (value: string) => new TextEncoder().encode(value)
  const files = new Map<string, Uint8Array>([
    ["tcb", text(`{"tcbInfo":${bundle["tcb_info"]},"signature":"${bundle["tcb_info_signature"]}"}`)],
    ["identity", text(`{"signature":"${bundle["qe_identity_signature"]}","enclaveIdentity":${bundle["qe_identity"]}}`)],
    [
      "headers",
      text(`HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: ${encodeURIComponent(bundle["tcb_info_issuer_chain"]!)}\r\n`),
    ],
    ["chain.pem", text(bundle["pck_crl_issuer_chain"]!)],
    ["pckcrl", fromHex(bundle["pck_crl"]!)!],
    ["rootcacrl", text(bundle["root_ca_crl"]!)],
    ["quote.dat", Uint8Array.of(0x30, 1, 2, 3)],
  ])
  const quote = await platform.quote(await body())
  const evidence = { quote, policy, at, rootKey: platform.rootKey, binding }
  assert.equal((await verifyQuote({ ...evidence, collateral: parseFiles(files) })).reason, "every check passed")
  assert.throws(() => parseFiles(new Map([...files].filter(([name]) => name !== "tcb"))), /no TCB info/)
  assert.throws(() => parseFiles(new Map([...files].filter(([name]) => name !== "identity"))), /no QE identity/)
  assert.throws(() => parseBundle("{}"), /lacks/)
  assert.throws(() => parseBundle(JSON.stringify({ ...bundle, pck_crl: "xx" })), /not hex/)

  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes)
  const read = readCollateral(folder)
  assert.equal((await verifyQuote({ ...evidence, collateral: read })).verdict, "accepted")
  rmSync(join(folder, "tcb"))
  const lacking = await verifyQuote({ ...evidence, collateral: readCollateral(folder) })
  assert.deepEqual([lacking.decidedBy, lacking.mrenclave], ["collateral", mrenclave])
  assert.throws(() => readCollateral(join(folder, "none")), { code: "ATTEST_UNREADABLE" })
})

test("the signed text is cut out of its wrapper byte for byte", () => {
  const inner = '{"a":"}\\"{" , "b":[{"tcbInfo":{}}],"c":1.50}'
  assert.equal(innerObject(`{"x":{"tcbInfo":{"no":1}}, "tcbInfo" : ${inner},"signature":"00"}`, "tcbInfo"), inner)
  assert.equal(innerObject('{"signature":"tcbInfo","other":{}}', "tcbInfo"), null)
  assert.equal(innerObject('{"tcbInfo":{', "tcbInfo"), null)
})

test("software quotes: DEBUG, one root per machine, named by the verifier", async () => {
  const now = new Date()
  const state = join(folder, "state")
  const [one, two] = [await softwareQuote(await body(), state, now), await softwareQuote(await body(), state, now)]
  const root = parseRootKey(new TextEncoder().encode(one.root))
  assert.deepEqual(root, parseRootKey(new TextEncoder().encode(two.root)))
  assert.equal(parseQuote(one.quote).report.debug, true)
  const evidence = { quote: one.quote, collateral: parseBundle(one.collateral), policy, at: now, binding }
  const intel = await verifyQuote(evidence)
  assert.equal(intel.decidedBy, "root")
  assert.match(intel.reason, /software backend for tests/)
  assert.equal((await verifyQuote({ ...evidence, rootKey: root })).decidedBy, "debug")
  const lenient = await verifyQuote({ ...evidence, rootKey: root, policy: { ...policy, testing: true } })
  assert.equal(lenient.reason, "every check passed")
  writeFileSync(join(state, "attestation-test-root.jwk"), "{}")
  await assert.rejects(softwareQuote(await body(), state, now), { code: "ATTEST_BAD_TEST_ROOT" })
})

test("a root key is taken from a certificate or a public key; anything else is refused", () => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const spki = publicKey.export({ type: "spki", format: "pem" }) as string
  const point = (publicKey.export({ type: "spki", format: "der" }) as Buffer).subarray(26)
  assert.deepEqual(Buffer.from(parseRootKey(Buffer.from(spki))), point)
  const other = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({
    type: "spki",
    format: "pem",
  }) as string
  assert.throws(() => parseRootKey(Buffer.from(other)), /not P-256/)
  assert.throws(() => parseRootKey(Buffer.from("nonsense")), /not DER/)
})
