/** Which pieces of a folder a quote is judged by, in whatever wrapping they lie there. */
import assert from "node:assert/strict"
import { generateKeyPairSync } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import { at, base, binding, body, issued, nextUpdate, policy, rootPair } from "../../testing/synthetic-quote.ts"
import { makePlatform, type Platform, pem, qeIdentityFor, tcbInfoFor } from "../gather/platform.ts"
import { fromHex } from "./bytes.ts"
import { parseCertificate, parseCrl } from "./certificates.ts"
import { parseBundle, parseFiles } from "./collateral.ts"
import { ACCEPTABLE, type Policy } from "./policy.ts"
import { evaluationNumber } from "./signed-json.ts"
import { type Evidence, INTEL_ROOT_KEY, verifyQuote } from "./verify.ts"

type Files = Map<string, Uint8Array>
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const DAY_MS = 86_400_000

/** What a PCS answers for a platform. */
function answers({ bundle }: Platform, prefix = ""): Files {
  return new Map(
    Object.entries({
      "tcb.json": text(`{"tcbInfo":${bundle["tcb_info"]},"signature":"${bundle["tcb_info_signature"]}"}`),
      "qe.json": text(`{"enclaveIdentity":${bundle["qe_identity"]},"signature":"${bundle["qe_identity_signature"]}"}`),
      "tcb-chain.pem": text(bundle["tcb_info_issuer_chain"]!),
      "crl-chain.pem": text(bundle["pck_crl_issuer_chain"]!),
      "pck.crl": fromHex(bundle["pck_crl"]!)!,
      "root.crl": fromHex(bundle["root_ca_crl"]!)!,
    }).map(([name, bytes]) => [prefix + name, bytes]),
  )
}

const platform = await makePlatform(base, rootPair)
const quote = await platform.quote(await body())
const judged = (files: Files, change: Partial<Evidence> = {}) =>
  verifyQuote({ quote, collateral: parseFiles(files), policy, at, rootKey: platform.rootKey, binding, ...change })
const accepted = async (files: Files, what: string): Promise<void> =>
  assert.equal((await judged(files)).reason, "every check passed", what)

test("a folder of many platforms and times: the piece that fits and is newest is taken, in whatever order they lie", async () => {
  const pck = base.pck!
  const dated = { issued: new Date(issued.getTime() - 30 * DAY_MS), nextUpdate: issued }
  const level = { components: pck.components, pceSvn: pck.pceSvn }
  const tcbInfo = (number: number, status: string, from = issued, to = nextUpdate) => ({
    ...tcbInfoFor(pck, from, to, [{ ...level, status, advisories: [] }]),
    tcbEvaluationDataNumber: number,
  })
  const others = await Promise.all([
    // Of the same platform, still valid and older: by number, by date.
    makePlatform({ ...base, tcbInfo: tcbInfo(16, "OutOfDate") }, rootPair),
    makePlatform({ ...base, tcbInfo: tcbInfo(17, "OutOfDate", new Date(issued.getTime() - 1000)) }, rootPair),
    // Expired, and not yet there.
    makePlatform({ ...base, ...dated, tcbInfo: tcbInfo(16, "OutOfDate", dated.issued, dated.nextUpdate) }, rootPair),
    makePlatform({ ...base, tcbInfo: tcbInfo(18, "OutOfDate", nextUpdate, new Date("2027-01-01")) }, rootPair),
    // Another platform, and TDX.
    makePlatform(
      { ...base, tcbInfo: { ...base.tcbInfo, fmspc: "00906ED50000", tcbEvaluationDataNumber: 99 } },
      rootPair,
    ),
    makePlatform({ ...base, tcbInfo: { ...base.tcbInfo, id: "TDX", tcbEvaluationDataNumber: 99 } }, rootPair),
    makePlatform({ ...base, qeIdentity: { ...base.qeIdentity, id: "TD_QE" } }, rootPair),
    makePlatform({ ...base, qeIdentity: qeIdentityFor(dated.issued, nextUpdate, "OutOfDate") }, rootPair),
  ])
  for (const prefix of ["a-", "z-"]) {
    const files = answers(platform, "m-")
    others.forEach((other, i) => {
      for (const [name, bytes] of answers(other, `${prefix}${i}-`)) files.set(name, bytes)
    })
    await accepted(files, prefix)
  }
  // Without its own the verdict says what the others are for.
  const foreign = await judged(new Map([...answers(platform), ["tcb.json", answers(others[4]!).get("tcb.json")!]]))
  assert.equal(foreign.decidedBy, "tcb-info")
  const withSigner = new Map([...answers(platform), ...answers(others[4]!, "a-")])
  withSigner.delete("tcb.json")
  const mismatch = await judged(withSigner)
  assert.deepEqual([mismatch.decidedBy, /FMSPC 00906ed50000/.test(mismatch.reason)], ["tcb-info-platform", true])
})

test("what is newer and forged does not take the place of what is genuine", async () => {
  const forged = JSON.stringify({ ...base.tcbInfo, tcbEvaluationDataNumber: 99 })
  const files = answers(platform)
  files.set("forged.json", text(`{"tcbInfo":${forged},"signature":"${"11".repeat(64)}"}`))
  await accepted(files, "forged TCB info")
  const crl = fromHex(platform.bundle["root_ca_crl"]!)!
  crl[crl.length - 1]! ^= 1
  files.set("a.crl", crl)
  await accepted(files, "forged CRL")
})

test("--at finds the CRL that was valid then", async () => {
  const later = await makePlatform(
    { ...base, issued: nextUpdate, nextUpdate: new Date("2027-01-01"), revokedByRoot: [2] },
    rootPair,
  )
  const files = answers(platform)
  files.set("later.crl", fromHex(later.bundle["root_ca_crl"]!)!)
  await accepted(files, "as of before the later one")
  // A newer one that there was then has been heard of the revocation.
  const newer = await makePlatform({ ...base, issued: new Date("2026-11-20"), revokedByRoot: [2] }, rootPair)
  files.set("a-newer.crl", fromHex(newer.bundle["root_ca_crl"]!)!)
  assert.equal((await judged(files)).decidedBy, "pck-revocation")
})

test("quotes of several platforms that carry no chain: the PCK certificate that signed is found", async () => {
  const others = [await makePlatform(base, rootPair), await makePlatform(base, rootPair)]
  const form = { certification: { type: 3, data: new Uint8Array(404) } }
  const bare = await platform.quote(await body(), form)
  const files = answers(platform)
  const [leaf] = platform.pckChain.split(/(?<=-----END CERTIFICATE-----\n)/)
  files.set("m.pem", text(leaf!))
  others.forEach((other, i) => {
    files.set(`${"az"[i]}.pem`, text(other.pckChain))
  })
  assert.equal((await judged(files, { quote: bare })).reason, "every check passed")
  files.delete("m.pem")
  assert.equal((await judged(files, { quote: bare })).verdict, "refused")
})

test("the usual wrappings are taken off", async () => {
  const { bundle } = platform
  const plain = answers(platform)
  const crl = Buffer.from(bundle["pck_crl"]!, "hex")
  const rewrapped = (name: string, bytes: Uint8Array): Files => new Map([...plain, [name, bytes]])
  const json = Buffer.from(plain.get("tcb.json")!).toString()
  const base64 = crl.toString("base64")
  const head = "HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n"
  const wrappings: readonly (readonly [string, string, Uint8Array])[] = [
    ["JSON with NULs", "tcb.json", text(`${json}\0\0`)],
    ["JSON with a byte order mark", "tcb.json", text(`\uFEFF${json}\n`)],
    ["JSON behind headers", "tcb.json", text(`${head}${json}`)],
    ["JSON behind a proxy's headers", "tcb.json", text(`HTTP/1.1 200 Connection established\n\n${head}${json}`)],
    ["hex", "pck.crl", text(bundle["pck_crl"]!)],
    ["hex and a NUL", "pck.crl", text(`${bundle["pck_crl"]!}\0`)],
    ["hex with 0x", "pck.crl", text(`0x${bundle["pck_crl"]!.toUpperCase()}\n`)],
    ["quoted hex", "pck.crl", text(`"${bundle["pck_crl"]!}"\n`)],
    ["base64", "pck.crl", text(base64)],
    ["base64 in lines, quoted", "pck.crl", text(`"${base64.replace(/.{64}/g, "$&\n")}"\0`)],
    ["PEM", "pck.crl", text(pem("X509 CRL", crl))],
    ["DER behind headers", "pck.crl", Uint8Array.from([...text(head), ...crl])],
    [
      "a chain in a header, `curl -i`",
      "tcb-chain.pem",
      text(
        `HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: ${encodeURIComponent(bundle["tcb_info_issuer_chain"]!)}\r\n\r\n{}`,
      ),
    ],
    ["a bundle in a folder", "all.json", text(JSON.stringify(bundle))],
  ]
  for (const [what, name, bytes] of wrappings) await accepted(rewrapped(name, bytes), what)

  const bundled = async (change: Readonly<Record<string, string>>, what: string) => {
    const collateral = parseBundle(`${JSON.stringify({ ...bundle, ...change })}\0`)
    assert.equal((await judged(plain, { collateral })).reason, "every check passed", what)
  }
  await bundled({}, "a NUL behind")
  await bundled({ pck_crl: base64, root_ca_crl: `0x${bundle["root_ca_crl"]!}\0` }, "base64 and 0x")
  await bundled({ pck_crl: pem("X509 CRL", crl) }, "PEM")
  await bundled(
    { tcb_info: `${bundle["tcb_info"]!}\0`, tcb_info_signature: `${bundle["tcb_info_signature"]!}\0` },
    "NULs",
  )
  await bundled({ tcb_info: json, tcb_info_signature: "" }, "the answer whole, as Intel's library has it")
})

test("re-formatted JSON is named as that", async () => {
  const info = JSON.stringify(base.tcbInfo, null, 2)
  const files = answers(platform)
  files.set("tcb.json", text(`{"tcbInfo": ${info}, "signature": "${platform.bundle["tcb_info_signature"]}"}`))
  const verdict = await judged(files)
  assert.equal(verdict.decidedBy, "tcb-info")
  assert.match(verdict.reason, /re-formatted JSON, which cannot be verified; use the bytes as served/)
})

test("what is of no use does not spoil a folder, and is named when something is missing", async () => {
  const files = answers(platform)
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 })
  files.set("a-key.pem", text(rsa.publicKey.export({ type: "spki", format: "pem" }) as string))
  files.set("a-rsa.pem", text(pem("CERTIFICATE", rsaCertificate())))
  files.set("a-damaged.pem", text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
  files.set("a-not-base64.pem", text("-----BEGIN CERTIFICATE-----\nA=A=A\n-----END CERTIFICATE-----\n"))
  files.set("a-quote.dat", quote)
  files.set("a-empty", new Uint8Array(0))
  files.set("a-der", Uint8Array.of(0x30, 1, 2, 3))
  files.set("a-broken.json", text('{"tcbInfo":{"id":"SGX"'))
  files.set("a-unsigned.json", text('{"tcbInfo":{"id":"SGX"}}'))
  await accepted(files, "beside all that")
  files.delete("tcb.json")
  assert.throws(() => parseFiles(files), /no TCB info \(unusable: .*a-rsa\.pem: .*no P-256 key/)
})

/** Self-signed, of RSA: only its key counts here, so the signature is anything. */
function rsaCertificate(): Uint8Array {
  const der = fromHex(platform.bundle["root_ca_crl"]!)!
  assert.ok(der.length > 0)
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  const spki = publicKey.export({ type: "spki", format: "der" })
  const sequence = (...parts: readonly Uint8Array[]): Buffer => {
    const content = Buffer.concat(parts)
    return Buffer.concat([Buffer.of(0x30, 0x82, content.length >> 8, content.length & 255), content])
  }
  const algorithm = Buffer.from("300d06092a864886f70d01010b0500", "hex")
  const name = Buffer.from("300c310a300806035504030c0141", "hex")
  const validity = sequence(
    Buffer.from("170d3236303130313030303030305a", "hex"),
    Buffer.from("170d3236303130313030303030305a", "hex"),
  )
  const tbs = sequence(Buffer.from("a003020102020101", "hex"), algorithm, name, validity, name, spki)
  return sequence(tbs, algorithm, Buffer.from("030200ff", "hex"))
}

test("a CRL of many thousands, as a CA's grows", async () => {
  const many = await makePlatform(
    { ...base, revokedByIntermediate: Array.from({ length: 5000 }, (_, i) => i + 1000) },
    rootPair,
  )
  assert.equal(parseCrl(fromHex(many.bundle["pck_crl"]!)!).revoked.size, 5000)
})

test("the evaluation number of a folder: the lowest of what is current, genuine pieces only", async () => {
  const old = { ...base.tcbInfo, fmspc: "00906ED50000" }
  const other = await makePlatform({ ...base, tcbInfo: { ...old, tcbEvaluationDataNumber: 19 } }, rootPair)
  const higher = await makePlatform(
    {
      ...base,
      tcbInfo: { ...base.tcbInfo, tcbEvaluationDataNumber: 20 },
      qeIdentity: { ...base.qeIdentity, tcbEvaluationDataNumber: 20 },
    },
    rootPair,
  )
  const number = (...files: readonly Files[]) =>
    evaluationNumber(parseFiles(new Map(files.flatMap((each) => [...each]))), platform.rootKey, at)
  assert.equal(await number(answers(platform)), 17)
  assert.equal(await number(answers(platform), answers(higher, "h-")), 20)
  assert.equal(await number(answers(higher), answers(other, "o-")), 19)
  const forged = answers(higher)
  forged.set("tcb.json", text(`{"tcbInfo":${JSON.stringify(old)},"signature":"${"11".repeat(64)}"}`))
  await assert.rejects(number(forged), /not signed/)
  await assert.rejects(
    evaluationNumber(parseFiles(answers(platform)), INTEL_ROOT_KEY, at),
    /no root certificate with the pinned key/,
  )
})

const published = join(SGX_DATA, "public")
const all: Policy = {
  version: 1,
  mrenclave: [],
  tcb: [...ACCEPTABLE],
  advisories: [],
  testing: true,
}
/** As folders name the time to judge at. */
const timeOf = (name: string): Date => new Date(Number(/-at(\d+)/.exec(name)![1]) * 1000)
const folder = (path: string): Files =>
  new Map(readdirSync(path).map((name) => [name, new Uint8Array(readFileSync(join(path, name)))]))

test("Intel's collateral in every wrapping, and re-formatted", onPublishedData, async () => {
  const occlum = readFileSync(join(published, "quotes/occlum.dat"))
  const when = new Date(1_755_500_000_000)
  const root = { quote: occlum, policy: all, at: when, rootKey: INTEL_ROOT_KEY, binding: null }
  const variants = readdirSync(join(published, "variants"))
  assert.ok(variants.length >= 6)
  for (const name of variants) {
    const path = join(published, "variants", name)
    const collateral = name.endsWith(".json") ? parseBundle(readFileSync(path, "utf8")) : parseFiles(folder(path))
    const verdict = await verifyQuote({ ...root, collateral })
    if (name === "json-jq-pretty") assert.match(verdict.reason, /re-formatted JSON/)
    // Authentic up to the platform's status, which no advisory list covers.
    else
      assert.deepEqual(
        [verdict.decidedBy, verdict.tcbStatus],
        ["advisories", "OutOfDate"],
        `${name}: ${verdict.reason}`,
      )
  }
})

test("Intel's collateral of three platforms in one folder", onPublishedData, async () => {
  const folders = readdirSync(published).filter((name) => /^coll-.*-at\d+$/.test(name))
  assert.equal(folders.length, 3)
  const files: Files = new Map(
    folders.flatMap((name) =>
      [...folder(join(published, name))].map(([file, bytes]) => [`${name}-${file}`, bytes] as const),
    ),
  )
  const collateral = parseFiles(files)
  const cases: readonly (readonly [string, string, string])[] = [
    ["azure-intel-release.dat", "coll-00906ed-at1748600000", "OutOfDate"],
    ["solana.dat", "coll-00a067-at1748600000", "ConfigurationAndSWHardeningNeeded"],
    ["occlum.dat", "coll-00606a-eval19-at1749470000", "OutOfDate"],
  ]
  for (const [name, own, status] of cases) {
    const evidence = {
      quote: readFileSync(join(published, "quotes", name)),
      policy: all,
      at: timeOf(own),
      rootKey: INTEL_ROOT_KEY,
      binding: null,
    }
    const together = await verifyQuote({ ...evidence, collateral })
    assert.deepEqual([together.decidedBy, together.tcbStatus], ["advisories", status], `${name}: ${together.reason}`)
    const alone = await verifyQuote({ ...evidence, collateral: parseFiles(folder(join(published, own))) })
    assert.deepEqual(together, alone, name)
  }
})

test("TCB info of version 2 names no advisories: it is no way around a policy", onPublishedData, async () => {
  const name = "coll-00906ed-at1748600000"
  const v2 = new Uint8Array(readFileSync(join(published, `${name}.tcb-v2.json`)))
  const evidence = {
    quote: readFileSync(join(published, "quotes/azure-intel-release.dat")),
    policy: all,
    at: timeOf(name),
    rootKey: INTEL_ROOT_KEY,
    binding: null,
  }
  const files = folder(join(published, name))
  const both = new Map([...files, ["a-v2.json", v2] as const])
  const only = new Map([...files, ["tcb.json", v2] as const])
  const [v3Alone, preferred, alone] = await Promise.all(
    [files, both, only].map((each) => verifyQuote({ ...evidence, collateral: parseFiles(each) })),
  )
  assert.match(v3Alone!.reason, /does not accept INTEL-SA-/)
  assert.deepEqual(preferred, v3Alone, "of two of one date the one that says more is taken")
  assert.deepEqual([alone!.verdict, alone!.decidedBy, alone!.tcbStatus], ["refused", "advisories", "OutOfDate"])
  assert.match(alone!.reason, /version 2 names no advisories.*get version 3/)
  // With every advisory accepted, version 3 passes this check and version 2 still does not.
  const every = { ...all, advisories: v3Alone!.advisories as string[] }
  const judge = (each: Files) => verifyQuote({ ...evidence, policy: every, collateral: parseFiles(each) })
  assert.equal((await judge(files)).decidedBy, "enclave")
  assert.equal((await judge(only)).decidedBy, "advisories")
})

test("a certificate with a damaged time is refused, not thrown over", onPublishedData, async () => {
  const bytes = readFileSync(join(published, "quote-bad-extension-time.dat"))
  const collateral = parseFiles(folder(join(published, "coll-00606a-eval19-at1749470000")))
  const evidence = { quote: bytes, collateral, policy: all, at: timeOf("-at1749470000"), binding: null }
  const verdict = await verifyQuote(evidence)
  assert.deepEqual([verdict.verdict, verdict.decidedBy], ["refused", "pck-chain"])
  assert.match(verdict.reason, /^a certificate is not DER$/)
})

test("a certificate's time that is none passes no comparison", () => {
  const der = Buffer.from(platform.rootCertificate.replace(/-----[^-]+-----|\s/g, ""), "base64")
  const when = der.indexOf(Buffer.from("261101000000Z"))
  assert.ok(when > 0)
  for (const bad of ["269999999999Z", "2611010000000", "261101000000A", "XXXXXXXXXXXXX"]) {
    const copy = Uint8Array.from(der)
    copy.set(Buffer.from(bad), when)
    let notBefore: Date | null = null
    try {
      notBefore = parseCertificate(copy).notBefore
    } catch (error) {
      assert.equal((error as Error).name, "Refusal")
    }
    assert.ok(notBefore === null || !Number.isNaN(notBefore.getTime()), bad)
  }
})
