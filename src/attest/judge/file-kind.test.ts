import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import { base, body, judge, rootPair } from "../../testing/synthetic-quote.ts"
import { makePlatform } from "../gather/platform.ts"
import { concat, sha256, verifyP256 } from "./bytes.ts"
import { parseCertificate, pemBlocks } from "./certificates.ts"
import { whatElse } from "./file-kind.ts"
import { endOfQuote, parseQuote } from "./quote.ts"

const quotes = join(SGX_DATA, "public/quotes")
const platform = await makePlatform(base, rootPair)
const quote = await platform.quote(await body())
const refuses = (bytes: Uint8Array, fact: RegExp): void =>
  assert.throws(() => parseQuote(bytes), { name: "Refusal", message: fact })

test("published files that are no SGX quotes are named for what they are", onPublishedData, () => {
  const named: readonly (readonly [string, RegExp])[] = [
    ["tdx4-phala.dat", /^it is a TDX quote \(version 4\)/],
    ["tdx4-qvl.dat", /^it is a TDX quote \(version 4\)/],
    ["tdx5-phala.dat", /^it is a TDX quote \(version 5\)/],
    ["epid-avr_v4.dat", /^it is an EPID quote/],
    ["epid-full-avr_v4.dat", /^it is an EPID quote/],
    ["oe-report-bad.dat", /^it is a quote behind Open Enclave's header/],
  ]
  for (const [name, fact] of named) refuses(readFileSync(join(quotes, name)), fact)
  // The way out that is told leads on.
  assert.equal(parseQuote(readFileSync(join(quotes, "oe-report-bad.dat")).subarray(16)).version, 3)
  for (const name of ["azure-intel-debug.dat", "oasis-ppid.dat", "occlum.dat", "solana.dat"]) {
    assert.equal(parseQuote(readFileSync(join(quotes, name))).version, 3, name)
  }
})

test("reports, text and wrappings are named, with the way to a quote", async () => {
  const text = (value: string) => new TextEncoder().encode(value)
  const report = new Uint8Array(432)
  report.set(await body())
  refuses(report, /^it is a report/)
  refuses(report.subarray(0, 384), /^it is a report/)
  refuses(new Uint8Array(0), /^it is empty/)
  refuses(text(Buffer.from(quote).toString("hex")), /^it is hex text; convert it with `xxd -r -p`/)
  refuses(text(`0x${Buffer.from(quote).toString("hex")}\n`), /^it is hex text/)
  refuses(text(Buffer.from(quote).toString("base64")), /^it is base64 text; convert it with `base64 -d`/)
  refuses(text('{"isvEnclaveQuoteStatus":"OK"}'), /^it is JSON/)
  refuses(text(platform.pckChain), /^it is PEM text/)
  refuses(text("HTTP/1.1 200 OK\r\n\r\n"), /^it is a saved HTTP response/)
  refuses(text("no quote, sorry"), /^it is text/)
  const targetInfo = new Uint8Array(512)
  targetInfo.set(quote.subarray(48, 80))
  refuses(targetInfo, /^it is a TARGETINFO/)
  const tdReport = new Uint8Array(1024).fill(0x81)
  refuses(tdReport, /^it is a TDX report/)
  assert.equal(whatElse(quote), null)
  assert.equal(whatElse(Uint8Array.of(3, 0, 2)), null, "a short piece of a quote is no other thing")
})

test("certification data that names no PCK certificate is named by its type", async () => {
  const names: readonly (readonly [number, RegExp])[] = [
    [6, /type 6 \(certification of a quoting enclave's report\)/],
    [7, /type 7 \(platform manifest\)/],
    [99, /of type 99, which/],
    [
      2,
      /no certificate "Intel SGX PCK Certificate", and the quote's certification data is of type 2 \(PPID encrypted with RSA-2048\)/,
    ],
  ]
  for (const [type, fact] of names) {
    const verdict = await judge({ form: { certification: { type, data: new Uint8Array(404) } } })
    assert.deepEqual([verdict.decidedBy, fact.test(verdict.reason)], ["pck-chain", true], verdict.reason)
  }
})

test("versions 4 and 5 say the same of an enclave as version 3, and every byte of theirs is covered", async () => {
  for (const version of [4, 5] as const) {
    const verdict = await judge({ form: { version } })
    assert.equal(verdict.reason, "every check passed")
    const made = await platform.quote(await body(), { version })
    assert.deepEqual(parseQuote(made).report, parseQuote(quote).report)
    const padded = new Uint8Array(made.length + 3000)
    padded.set(made)
    assert.equal(endOfQuote(padded), made.length)
    assert.equal(endOfQuote(made.subarray(0, -1)), null)
    // One behind another, each length must close.
    const lengthAt = version === 4 ? 432 : 438
    for (const at of [lengthAt, lengthAt + 4 + 128 + 2]) {
      const copy = Uint8Array.from(made)
      const view = new DataView(copy.buffer)
      view.setUint32(at, view.getUint32(at, true) - 1, true)
      refuses(copy, /cut short|padding|before its length/)
    }
    if (version === 4) continue
    const flipped = (at: number) => (bytes: Uint8Array) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))
    const type = await judge({ form: { version }, quote: flipped(48) })
    assert.match(type.reason, /body is of type 0, not 1/)
    const length = await judge({ form: { version }, quote: flipped(50) })
    assert.match(length.reason, /body has 385 bytes, not 384/)
  }
})

/**
 * Nobody publishes SGX quotes of versions 4 and 5; of TDX they do, and all behind the body is the same. So the body is
 * exchanged for an SGX one: the quoting enclave's part must be found where Intel put it, and still be signed.
 */
test("versions 4 and 5 lie as in real quotes", onPublishedData, async () => {
  const cases: readonly (readonly [string, 4 | 5, number])[] = [
    ["tdx4-phala.dat", 4, 48 + 584],
    ["tdx5-phala.dat", 5, 48 + 6 + 648],
  ]
  for (const [name, version, end] of cases) {
    const tdx = new Uint8Array(readFileSync(join(quotes, name)))
    const header = tdx.slice(0, 48)
    new DataView(header.buffer).setUint32(4, 0, true)
    const type = version === 5 ? [1, 0, 0x80, 1, 0, 0] : []
    const made = parseQuote(Uint8Array.of(...header, ...type, ...(await body()), ...tdx.subarray(end)))
    assert.equal(made.version, version)
    assert.equal(made.certificationType, 5, name)
    const chain = pemBlocks(new TextDecoder().decode(made.certificationData), "CERTIFICATE").map(parseCertificate)
    const leaf = chain.find(({ commonName }) => commonName === "Intel SGX PCK Certificate")!
    assert.ok(await verifyP256(leaf.publicKey, made.qeReportBytes, made.qeReportSignature), name)
    const bound = await sha256(concat(made.attestationKey, made.authData))
    assert.deepEqual(made.qeReport.reportData.slice(0, 32), bound, name)
    const signed = concat(tdx.subarray(0, end))
    assert.ok(await verifyP256(concat(Uint8Array.of(4), made.attestationKey), signed, made.signature), name)
  }
})
