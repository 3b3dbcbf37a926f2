import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, beforeEach, test } from "node:test"
import { fileURLToPath } from "node:url"
import { makePlatform, newKey, platformSpec } from "../../attest/gather/platform.ts"
import { parsePolicy, TCB_EVALUATION_DATA_NUMBER } from "../../attest/judge/policy.ts"
import { tcbNumbersPath } from "../../attest/tcb-numbers.ts"
import { installed } from "../../base/installation.ts"
import { newSha256 } from "../../enclave/image/keys.ts"
import { parseSigstruct } from "../../enclave/image/sigstruct.ts"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import { GROUND, parseTime, type QuoteVerification, showQuote, verify } from "../attest.ts"
import { type PolicyOptions, policyInit } from "../policy-init.ts"

const here = dirname(fileURLToPath(import.meta.url))
const sample = join(SGX_DATA, "quote-test-root")
const folder = mkdtempSync(join(tmpdir(), "tresor-attest-cli-"))
after(() => rmSync(folder, { recursive: true }))
let round = 0
beforeEach(() => {
  process.env["XDG_CONFIG_HOME"] = join(folder, `config-${++round}`)
})

/** Intel's sample: a folder with the answers of its service. */
const intels: QuoteVerification = {
  quote: join(sample, "quote.dat"),
  collateral: sample,
  root: join(sample, "trustedRootCaCert.pem"),
  at: "1700000000",
}

/** Of a platform made here, whose report is all zeros. */
const platform = await makePlatform(
  platformSpec("Test Root", new Date("2023-11-01T00:00:00Z"), new Date("2023-12-01T00:00:00Z")),
  await newKey(),
)
function made(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const base: QuoteVerification = {
  quote: made("quote.dat", await platform.quote(new Uint8Array(384))),
  collateral: made("collateral.json", JSON.stringify(platform.bundle)),
  root: made("root.pem", platform.rootCertificate),
  at: "2023-11-14",
}
interface VerdictJson {
  readonly verdict: string
  readonly decidedBy: string | null
  readonly checks: readonly { readonly name: string; readonly result: string }[]
}
const judged = async (change: Partial<QuoteVerification> = {}, from = base) => {
  const { exitCode, json } = await verify({ ...from, ...change })
  const { verdict, decidedBy, checks } = json as unknown as VerdictJson
  assert.equal(exitCode, verdict === "accepted" ? 0 : 1)
  assert.equal(decidedBy, checks.find(({ result }) => result === "failed")?.name ?? null)
  return { verdict, decidedBy, json }
}

/** Intel's sample as one JSON object: the second form of --collateral. */
function bundleFile(): string {
  const text = (name: string) => readFileSync(join(sample, name), "utf8")
  const hex = (name: string) => readFileSync(join(sample, name)).toString("hex")
  const signed = (name: string, key: string) => {
    const whole = text(name)
    const start = whole.indexOf("{", whole.indexOf(`"${key}"`))
    const end = whole.lastIndexOf("}", whole.lastIndexOf('"signature"')) + 1
    return { value: whole.slice(start, end), signature: /"signature"\s*:\s*"([0-9a-fA-F]+)"/.exec(whole)![1]! }
  }
  const tcb = signed("tcbInfo.json", "tcbInfo")
  const qe = signed("qeIdentity.json", "enclaveIdentity")
  const path = join(folder, "bundle.json")
  writeFileSync(
    path,
    JSON.stringify({
      pck_crl_issuer_chain: text("pckSignChain.pem"),
      root_ca_crl: hex("rootCaCrl.der"),
      pck_crl: hex("intermediateCaCrl.der"),
      tcb_info_issuer_chain: text("tcbSignChain.pem"),
      tcb_info: tcb.value,
      tcb_info_signature: tcb.signature,
      qe_identity_issuer_chain: text("tcbSignChain.pem"),
      qe_identity: qe.value,
      qe_identity_signature: qe.signature,
      // This quote carries no chain.
      pck_certificate_chain: text("pckCert.pem"),
    }),
  )
  return path
}

test(
  "Intel's sample: accepted from a folder and from one file, with a policy and without",
  onPublishedData,
  async () => {
    const own = await judged({}, intels)
    assert.deepEqual([own.verdict, own.json["tcbStatus"], own.json["debug"]], ["accepted", "UpToDate", false])
    assert.match(String(own.json["reason"]), /without a policy/)
    assert.equal((await judged({ collateral: bundleFile() }, intels)).verdict, "accepted")
    const policy = join(folder, "policy.json")
    const { json } = await policyInit({ quote: intels.quote, by: "mrenclave", out: policy })
    assert.equal((await judged({ policy }, intels)).decidedBy, "collateral-age", "of 2019, when Intel's number was 3")
    writeFileSync(policy, JSON.stringify({ ...json, minTcbEvaluationDataNumber: 0 }))
    assert.equal((await judged({ policy }, intels)).verdict, "accepted")
    writeFileSync(policy, JSON.stringify({ mrenclave: "11".repeat(32), testing: true }))
    assert.equal((await judged({ policy }, intels)).decidedBy, "enclave")
  },
)

test(
  "Intel's sample: refused under Intel's key, out of time, and for each altered piece",
  onPublishedData,
  async () => {
    assert.equal((await verify({ ...intels, root: undefined })).json["decidedBy"], "root")
    assert.equal((await judged({ at: "2099-01-01" }, intels)).verdict, "refused")
    assert.equal((await judged({ at: "2010-01-01T00:00:00Z" }, intels)).decidedBy, "pck-validity")
    const altered = async (name: string, change: (bytes: Buffer) => Buffer): Promise<string | null> => {
      const copy = join(folder, "copy")
      rmSync(copy, { recursive: true, force: true })
      mkdirSync(copy)
      for (const each of readdirSync(sample)) copyFileSync(join(sample, each), join(copy, each))
      writeFileSync(join(copy, name), change(readFileSync(join(sample, name))))
      return (await judged({ collateral: copy, quote: join(copy, "quote.dat") }, intels)).decidedBy
    }
    const text = (from: string | RegExp, to: string) => (bytes: Buffer) => {
      const changed = bytes.toString("latin1").replace(from, to)
      assert.notEqual(changed, bytes.toString("latin1"))
      return Buffer.from(changed, "latin1")
    }
    const flip = (at: number) => (bytes: Buffer) => {
      const copy = Buffer.from(bytes)
      copy[(at + copy.length) % copy.length]! ^= 1
      return copy
    }
    assert.equal(
      await altered("tcbInfo.json", text(/"tcbEvaluationDataNumber":\s*\d+/, '"tcbEvaluationDataNumber":99')),
      "tcb-info",
    )
    assert.equal(await altered("qeIdentity.json", text(/"isvprodid":\s*\d+/, '"isvprodid":9')), "qe-identity")
    assert.equal(await altered("rootCaCrl.der", flip(-1)), "root-crl")
    assert.equal(await altered("intermediateCaCrl.der", flip(-1)), "pck-crl")
    assert.equal(await altered("quote.dat", flip(0)), "quote")
    assert.equal(await altered("quote.dat", flip(60)), "quote-signature")
    assert.equal(await altered("quote.dat", flip(440)), "quote-signature")
    assert.equal(await altered("quote.dat", flip(505)), "qe-report-data")
    assert.equal(await altered("quote.dat", flip(600)), "qe-report-signature")
    assert.equal(await altered("quote.dat", (bytes) => bytes.subarray(0, 500)), "quote")
  },
)

test("REPORTDATA is judged when key and nonce are given", async () => {
  const hex = "ab".repeat(32)
  assert.equal((await judged({ publicKey: hex, nonce: hex })).decidedBy, "report-data")
  await assert.rejects(verify({ ...base, nonce: hex }), { code: "ATTEST_BAD_OPTIONS", exitCode: 1 })
  await assert.rejects(verify({ ...base, publicKey: "zz", nonce: hex }), { code: "ATTEST_BAD_OPTIONS" })
})

test("what cannot be read is no verdict", async () => {
  await assert.rejects(verify({ ...base, quote: join(folder, "none") }), { code: "ATTEST_UNREADABLE" })
  await assert.rejects(verify({ ...base, collateral: join(folder, "none") }), { code: "ATTEST_UNREADABLE" })
  await assert.rejects(verify({ ...base, policy: join(folder, "none") }), { code: "ATTEST_UNREADABLE" })
  await assert.rejects(verify({ ...base, root: made("no.pem", "no certificate") }), { code: "ATTEST_BAD_OPTIONS" })
  await assert.rejects(verify({ ...base, at: "yesterday" }), { code: "ATTEST_BAD_OPTIONS" })
  const collateral = made("bad.json", JSON.stringify({ ...platform.bundle, pck_crl: "zz" }))
  assert.equal((await verify({ ...base, collateral })).json["decidedBy"], "collateral")
})

test("times: seconds, ISO 8601 with a zone, a date", () => {
  assert.equal(parseTime("1700000000").getTime(), 1_700_000_000_000)
  assert.equal(parseTime("2023-11-14T22:13:20Z").getTime(), 1_700_000_000_000)
  assert.equal(parseTime("2023-11-14T23:13:20+01:00").getTime(), 1_700_000_000_000)
  assert.equal(parseTime("2023-11-14").getTime(), Date.UTC(2023, 10, 14))
  // Without a zone the verdict would depend on the machine's.
  for (const bad of ["2023-11-14T22:13:20", "", "-1", "2023-13-01", "now"]) {
    assert.throws(() => parseTime(bad), { code: "ATTEST_BAD_OPTIONS" })
  }
})

test("policy init: from this installation, a quote or a SIGSTRUCT; never over a file unasked", async () => {
  const own = parsePolicy(JSON.stringify((await policyInit({ by: "mrenclave" })).json))
  assert.equal(own.testing, false)
  assert.match(own.mrenclave![0]!, /^[0-9a-f]{64}$/)
  const quoted = parsePolicy(JSON.stringify((await policyInit({ quote: base.quote, by: "mrenclave" })).json))
  assert.deepEqual(
    [quoted.mrenclave, quoted.testing],
    [["00".repeat(32)], true],
    "a report without INIT is no production enclave's",
  )
  const sigstruct = installed("enclave/build/tresor.sigstruct")
  const signed = parsePolicy(JSON.stringify((await policyInit({ sigstruct, by: "mrenclave" })).json))
  assert.equal(signed.testing, false)
  // Of whom it signs nothing is known, unless it is a release key.
  const { mrsigner } = parseSigstruct(readFileSync(sigstruct), newSha256)
  const signers = (mrsigner: string) => ({ ...GROUND, signers: () => new Map([[mrsigner, "Example Ltd"]]) })
  await assert.rejects(policyInit({ by: "mrsigner" }), { code: "SEAL_UNSIGNED", exitCode: 1 })
  await assert.rejects(policyInit({ sigstruct, by: "mrsigner" }, signers("ab".repeat(32))), { code: "SEAL_UNSIGNED" })
  const released = (await policyInit({ sigstruct, by: "mrsigner" }, signers(mrsigner))).json
  assert.equal(parsePolicy(JSON.stringify(released)).mrsigner, mrsigner)
  for (const offset of [0, 100, 200, 600, 960, 1100]) {
    const bytes = readFileSync(sigstruct)
    bytes[offset]! ^= 1
    const altered = policyInit({ sigstruct: made("altered.sigstruct", bytes), by: "mrenclave" })
    await assert.rejects(altered, { code: "ATTEST_BAD_SIGSTRUCT", exitCode: 1 }, `byte ${offset}`)
  }
  const out = join(folder, "fresh.json")
  await policyInit({ by: "mrenclave", out, testing: true })
  assert.equal(parsePolicy(readFileSync(out, "utf8")).testing, true)
  await assert.rejects(policyInit({ by: "mrenclave", out }), { code: "ATTEST_POLICY_EXISTS", exitCode: 5 })
  await policyInit({ by: "mrenclave", out, force: true })
  assert.equal(parsePolicy(readFileSync(out, "utf8")).testing, false)
  await assert.rejects(policyInit({ by: "mrenclave", quote: base.quote, sigstruct }), { code: "ATTEST_BAD_OPTIONS" })
})

test("policy init sets the lowest TCB evaluation data number: of the collateral given or kept, else a built-in one", async () => {
  const rootPair = await newKey()
  const spec = platformSpec("Intel SGX Root CA", new Date("2026-11-01T00:00:00Z"), new Date("2026-12-01T00:00:00Z"))
  const bundleOf = async (number: number) => {
    const tcbInfo = { ...spec.tcbInfo, tcbEvaluationDataNumber: number }
    const qeIdentity = { ...spec.qeIdentity, tcbEvaluationDataNumber: number }
    const { bundle, rootKey } = await makePlatform({ ...spec, tcbInfo, qeIdentity }, rootPair)
    return { text: JSON.stringify(bundle), rootKey }
  }
  const current = await bundleOf(23)
  const ground = { now: () => new Date("2026-11-23T12:00:00Z"), intelKey: current.rootKey, signers: GROUND.signers }
  const number = async (options: Partial<PolicyOptions> = {}, on = ground) =>
    parsePolicy(JSON.stringify((await policyInit({ by: "mrenclave", ...options }, on)).json)).minTcbEvaluationDataNumber
  assert.equal(await number(), TCB_EVALUATION_DATA_NUMBER)
  const collateral = made("current.json", current.text)
  assert.equal(await number({ collateral }), 23)
  assert.equal(await number({ collateral, testing: true }), 23, "asked for is asked for")
  const old = made("old.json", (await bundleOf(3)).text)
  assert.equal(await number({ collateral: old }), TCB_EVALUATION_DATA_NUMBER, "never below the built-in one")
  // What is not Intel's, or not valid now, raises nothing.
  const later = { ...ground, now: () => new Date("2027-01-01") }
  const foreign = { ...ground, intelKey: new Uint8Array(65).fill(4) }
  for (const on of [later, foreign]) {
    await assert.rejects(number({ collateral }, on), { code: "ATTEST_BAD_COLLATERAL", exitCode: 1 })
  }
  // Kept beside the known enclaves.
  mkdirSync(dirname(tcbNumbersPath()), { recursive: true })
  writeFileSync(join(dirname(tcbNumbersPath()), "collateral.json"), current.text)
  assert.equal(await number(), 23)
  assert.equal(await number({}, later), TCB_EVALUATION_DATA_NUMBER)
  assert.equal(await number({ testing: true }), TCB_EVALUATION_DATA_NUMBER, "the software backend's own has that one")
  const { lines } = await policyInit({ by: "mrenclave", out: join(folder, "told.json") }, ground)
  assert.match(lines.join("\n"), /TCB evaluation data number 23 or higher \(of .*collateral\.json\)/)
})

test("verify remembers the number for what is judged now and by Intel's key, and wants no lower one", async () => {
  const rootPair = await newKey()
  const spec = platformSpec("Intel SGX Root CA", new Date("2026-11-01T00:00:00Z"), new Date("2026-12-01T00:00:00Z"))
  const optionsOf = async (
    number: number,
  ): Promise<{ options: QuoteVerification; rootKey: Uint8Array; root: string }> => {
    const tcbInfo = { ...spec.tcbInfo, tcbEvaluationDataNumber: number }
    const qeIdentity = { ...spec.qeIdentity, tcbEvaluationDataNumber: number }
    const at = await makePlatform({ ...spec, tcbInfo, qeIdentity }, rootPair)
    return {
      options: {
        quote: made(`quote-${number}.dat`, await at.quote(new Uint8Array(384))),
        collateral: made(`collateral-${number}.json`, JSON.stringify(at.bundle)),
      },
      rootKey: at.rootKey,
      root: made("intel-root.pem", at.rootCertificate),
    }
  }
  const [newer, older] = [await optionsOf(21), await optionsOf(20)]
  const ground = { now: () => new Date("2026-11-23T12:00:00Z"), intelKey: newer.rootKey, signers: GROUND.signers }
  const result = async (options: QuoteVerification) => (await verify(options, ground)).json
  assert.equal((await result(older.options))["verdict"], "accepted", "nothing newer was seen")
  assert.equal((await result({ ...newer.options, root: newer.root }))["verdict"], "accepted")
  assert.equal((await result({ ...newer.options, at: "2026-11-23" }))["verdict"], "accepted")
  assert.equal((await result(older.options))["verdict"], "accepted", "another key's and another time's do not count")
  assert.equal((await result(newer.options))["verdict"], "accepted")
  const rolledBack = await result(older.options)
  assert.deepEqual([rolledBack["verdict"], rolledBack["decidedBy"]], ["refused", "collateral-age"])
  assert.match(String(rolledBack["reason"]), /is 20; 21 was seen for such a platform before \(.*tcb-numbers:1\)/)
  assert.equal((await result({ ...older.options, at: "2026-11-23" }))["verdict"], "accepted", "as of then it was so")
  assert.equal(readFileSync(tcbNumbersPath(), "utf8"), "00606a000000 0000 21\n")
})

test("show --quote tells what a quote says, unverified", () => {
  const { lines, json } = showQuote(base.quote)
  assert.equal(json["mrenclave"], "00".repeat(32))
  assert.match(lines.join("\n"), /Not verified/)
  assert.throws(() => showQuote(base.root!), { code: "ATTEST_BAD_QUOTE", exitCode: 1 })
})

test("through the command line: show, policy init and verify agree; the software backend passes no production policy", () => {
  const run = (...words: readonly string[]) => {
    const main = `import { main } from ${JSON.stringify(join(here, "../main.ts"))}; main(process.argv.slice(1), null)`
    const env = { ...process.env, TRESOR_STATE_DIR: join(folder, "state"), XDG_CONFIG_HOME: join(folder, "config") }
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", main, "attest", ...words],
      {
        encoding: "utf8",
        env,
      },
    )
    return { status, stdout, stderr }
  }
  const saved = join(folder, "saved")
  const shown = run("show", "--backend", "software", "--save", saved, "--json")
  assert.equal(shown.status, 0, shown.stderr)
  const { mrenclave, publicKey, nonce, debug, standing } = JSON.parse(shown.stdout)
  assert.deepEqual([debug, standing], [true, "own image"])
  const evidence = ["--quote", join(saved, "quote.dat"), "--collateral", join(saved, "collateral.json")]
  const bound = ["--public-key", publicKey, "--nonce", nonce]
  const rooted = ["--root", join(saved, "root.pem")]
  const [lenient, strict] = [join(folder, "lenient.json"), join(folder, "strict.json")]
  assert.equal(run("policy", "init", "--by", "mrenclave", "--testing", "--out", lenient).status, 0)
  assert.equal(run("policy", "init", "--by", "mrenclave", "--out", strict).status, 0)
  const accepted = run("verify", ...evidence, ...bound, ...rooted, "--policy", lenient, "--json")
  assert.equal(accepted.status, 0, accepted.stdout)
  assert.equal(JSON.parse(accepted.stdout).mrenclave, mrenclave)
  assert.equal(run("verify", ...evidence, ...rooted, "--policy", strict).status, 1)
  const refused = run("verify", ...evidence, "--policy", strict)
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /refused by the root check: .*software backend/)
  const missing = run("verify", "--quote", "x")
  assert.equal(missing.status, 1)
  assert.match(missing.stderr, /^tresor: error: .*--collateral/)
})
