/**
 * Every parser of evidence against bytes that somebody chose: what comes back
 * is a value or a Refusal, never another exception, and no alteration makes a
 * quote of another enclave pass. Alterations of what Intel and others
 * published, and of a platform made here where that data is missing.
 */
import assert from "node:assert/strict"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import fc from "fast-check"
import { runs } from "../../testing/runs.ts"
import { onPublishedData, SGX_DATA } from "../../testing/sgx-data.ts"
import { at, base, binding, body, mrenclave, policy, rootPair } from "../../testing/synthetic-quote.ts"
import { makePlatform } from "../gather/platform.ts"
import { fromHex } from "./bytes.ts"
import { parseCertificate, parseCrl, parsePckExtension, parseRootKey, pemBlocks } from "./certificates.ts"
import { innerObject, parseBundle, parseFiles } from "./collateral.ts"
import { whatElse } from "./file-kind.ts"
import { parseQuote } from "./quote.ts"
import { Refusal } from "./refusal.ts"
import { parseQeIdentity, parseTcbInfo } from "./tcb.ts"
import { type Evidence, verifyQuote } from "./verify.ts"
import { derOfText, splitAnswer } from "./wrapping.ts"

const RUNS = runs(600, 100)
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

/** Files of published folders; none where the data is missing. */
function published(...folders: readonly string[]): Uint8Array[] {
  return folders.flatMap((folder) => {
    const path = join(SGX_DATA, folder)
    if (!existsSync(path)) return []
    return readdirSync(path, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => new Uint8Array(readFileSync(join(entry.parentPath, entry.name))))
  })
}

const platform = await makePlatform({ ...base, revokedByIntermediate: [70, 71, 72] }, rootPair)
const quotes = await Promise.all(
  [3, 4, 5].map(async (version) => platform.quote(await body(), { version: version as 3 | 4 | 5 })),
)
const certificates: Uint8Array[] = pemBlocks(
  platform.pckChain + platform.bundle["tcb_info_issuer_chain"],
  "CERTIFICATE",
)
const crls: Uint8Array[] = ["pck_crl", "root_ca_crl"].map((key) => fromHex(platform.bundle[key]!)!)
const files = published("public/coll-00906ed-at1748600000", "public/variants", "quote-test-root")
for (const file of files) certificates.push(...pemBlocks(text(file), "CERTIFICATE"))
for (const file of files) {
  const { body: content } = splitAnswer(file)
  if (content[0] === 0x30) crls.push(content)
}
const infos = [platform.bundle["tcb_info"]!, ...files.flatMap((file) => innerObject(text(file), "tcbInfo") ?? [])]
const identities = [
  platform.bundle["qe_identity"]!,
  ...files.flatMap((file) => innerObject(text(file), "enclaveIdentity") ?? []),
]

/** Bytes that stand for much: lengths, ends, signs, digits. */
const telling = fc.constantFrom(0, 1, 2, 0x03, 0x04, 0x17, 0x18, 0x30, 0x31, 0x39, 0x7f, 0x80, 0x82, 0x84, 0xa0, 0xff)
const alteration = fc.record({
  where: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  kind: fc.constantFrom("set", "flip", "cut", "insert", "remove", "repeat"),
  value: fc.oneof(telling, fc.integer({ min: 0, max: 255 })),
  length: fc.integer({ min: 1, max: 40 }),
})
type Alteration = typeof alteration extends fc.Arbitrary<infer T> ? T : never

function altered(original: Uint8Array, { where, kind, value, length }: Alteration): Uint8Array {
  const from = Math.floor(where * original.length)
  const [head, tail] = [original.subarray(0, from), original.subarray(from)]
  switch (kind) {
    case "cut":
      return head.slice()
    case "insert":
      return Uint8Array.of(...head, ...new Uint8Array(length).fill(value), ...tail)
    case "remove":
      return Uint8Array.of(...head, ...tail.subarray(length))
    case "repeat":
      return Uint8Array.of(...head, ...tail.subarray(0, length), ...tail)
    default: {
      const copy = Uint8Array.from(original)
      copy[from] = kind === "set" ? value : copy[from]! ^ (1 << (value & 7))
      return copy
    }
  }
}

const variationOf = (corpus: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(fc.constantFrom(...corpus), fc.array(alteration, { minLength: 1, maxLength: 4 }))
    .map(([original, changes]) => changes.reduce((value, change) => altered(value, change), original))
const hostile = (corpus: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> =>
  fc.oneof({ weight: 9, arbitrary: variationOf(corpus) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }) })

/** A value, or a Refusal of one line. */
function total(run: () => unknown): void {
  try {
    run()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    assert.ok(!error.message.includes("\n"), error.message)
  }
}

function survives(
  name: string,
  corpus: readonly Uint8Array[],
  run: (value: Uint8Array) => unknown,
  numRuns = RUNS,
): void {
  test(`${name}: a value or a refusal`, () => {
    for (const value of corpus) total(() => run(value))
    fc.assert(
      fc.property(hostile(corpus), (value) => total(() => run(value))),
      { numRuns },
    )
  })
}

survives("certificate", certificates, (der) => parsePckExtension(parseCertificate(der)))
survives("CRL", crls, parseCrl)
survives("root key", [...certificates, bytes(platform.rootCertificate)], parseRootKey)
survives("quote", [...quotes, ...published("public/quotes", "quote-intel-root")], parseQuote)
survives("what else it is", [...quotes, ...published("public/quotes")], whatElse)
survives("TCB info", infos.map(bytes), (value) => parseTcbInfo(text(value)))
survives("QE identity", identities.map(bytes), (value) => parseQeIdentity(text(value)))
survives("bundle", [bytes(JSON.stringify(platform.bundle))], (value) => parseBundle(text(value)), 200)
survives("saved answer", [bytes("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"), ...files], splitAnswer)
survives(
  "DER as text",
  [bytes(platform.bundle["pck_crl"]!), ...crls.map((crl) => bytes(Buffer.from(crl).toString("base64")))],
  (value) => derOfText(text(value)),
)

/** The bytes of a JSON text altered seldom parse; its values altered do. */
test("TCB info and QE identity with any value in any place: a value or a refusal", () => {
  const cases = [
    { corpus: infos, parse: parseTcbInfo },
    { corpus: identities, parse: parseQeIdentity },
  ]
  for (const { corpus, parse } of cases) {
    const property = fc.property(
      fc.constantFrom(...corpus),
      fc.nat(),
      fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(-1, 1e300, 65536, "2026-02-31T25:61:00Z", "", [], {}, null)),
      (json, place, value) => {
        const places: (() => void)[] = []
        const root = JSON.parse(json) as Record<string, unknown>
        const visit = (node: unknown): void => {
          if (node === null || typeof node !== "object") return
          for (const key of Object.keys(node)) {
            const record = node as Record<string, unknown>
            places.push(() => {
              record[key] = value
            })
            visit(record[key])
          }
        }
        visit(root)
        places[place % places.length]!()
        total(() => parse(JSON.stringify(root)))
      },
    )
    fc.assert(property, { numRuns: RUNS })
  }
})

const answers: ReadonlyMap<string, Uint8Array> = new Map([
  ["tcb", bytes(`{"tcbInfo":${platform.bundle["tcb_info"]},"signature":"${platform.bundle["tcb_info_signature"]}"}`)],
  [
    "qe",
    bytes(
      `{"enclaveIdentity":${platform.bundle["qe_identity"]},"signature":"${platform.bundle["qe_identity_signature"]}"}`,
    ),
  ],
  ["chain", bytes(platform.bundle["tcb_info_issuer_chain"]! + platform.bundle["pck_crl_issuer_chain"]!)],
  ["pck.crl", crls[0]!],
  ["root.crl", crls[1]!],
])
const folders = fc
  .dictionary(fc.constantFrom(...answers.keys()), fc.array(alteration, { minLength: 1, maxLength: 3 }), { maxKeys: 2 })
  .map((changes) => {
    const folder = new Map(answers)
    for (const [name, list] of Object.entries(changes)) {
      folder.set(
        name,
        list.reduce((value, change) => altered(value, change), folder.get(name)!),
      )
    }
    return folder
  })

/** What comes of it must be a verdict; accepted is the enclave that it was made of, and no other. */
test("a quote and its folder, both altered: a verdict, and none on another enclave", async () => {
  const judge = async (quote: Uint8Array, folder: ReadonlyMap<string, Uint8Array>) => {
    let collateral: Evidence["collateral"]
    try {
      collateral = parseFiles(folder)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      collateral = error
    }
    return verifyQuote({ quote, collateral, policy, at, rootKey: platform.rootKey, binding })
  }
  assert.equal((await judge(quotes[0]!, answers)).verdict, "accepted", "the unaltered")
  let accepted = 0
  const property = fc.asyncProperty(
    fc.oneof(fc.constantFrom(...quotes), variationOf(quotes)),
    folders,
    async (quote, folder) => {
      const verdict = await judge(quote, folder)
      if (verdict.verdict === "refused") {
        assert.ok(verdict.decidedBy !== null && verdict.reason !== "")
        return
      }
      accepted++
      assert.equal(verdict.mrenclave, mrenclave)
      assert.deepEqual(parseQuote(quote).reportBytes, await body())
    },
  )
  await fc.assert(property, { numRuns: runs(150, 40) })
  assert.ok(accepted > 0, "some alterations are of no account")
})

/** The published quotes, each beside every published collateral that is altered: certificates of Intel's, real DER. */
test("published evidence, altered: a verdict", onPublishedData, async () => {
  const corpus = published("public/quotes", "quote-intel-root")
  const collateral = new Map(files.map((file, i) => [String(i), file]))
  await fc.assert(
    fc.asyncProperty(variationOf(corpus), fc.nat(), alteration, async (quote, pick, change) => {
      const folder = new Map(collateral)
      const name = String(pick % files.length)
      folder.set(name, altered(folder.get(name)!, change))
      let parsed: Evidence["collateral"]
      try {
        parsed = parseFiles(folder)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        parsed = error
      }
      await verifyQuote({ quote, collateral: parsed, policy: null, at: new Date(1_748_600_000_000), binding: null })
    }),
    { numRuns: runs(30, 6) },
  )
})
