/** Each token of vectors/token.json, in a header; cryptsetup's side is test/luks2/vectors.test.ts. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { PARSED, tokens } from "../../test/luks2/token-vectors.ts"
import { BASE } from "../../test/luks2/vector-image.ts"
import { emitMetadata } from "./emit.ts"
import { parseMetadata } from "./parse.ts"
import { isTresorToken, type TresorToken } from "./tresor-token.ts"

const metadataWith = (token: unknown) =>
  parseMetadata(JSON.stringify({ ...BASE.metadata, tokens: { 0: token } }), BASE.headerSize)

/** As the vectors write it. */
function shown({ version, keyslots, kdf, sealed, enclave, mac }: TresorToken): unknown {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
  const slots = [...mac.keyslots].map(([slot, bytes]) => [slot, hex(bytes)])
  const macs = { segment: hex(mac.segment), keyslots: Object.fromEntries(slots) }
  return JSON.parse(JSON.stringify({ version, keyslots, kdf, sealed: hex(sealed), enclave, mac: macs }))
}

for (const { oddity, verdict, token } of tokens) {
  test(`${verdict}: ${oddity}`, () => {
    const metadata = metadataWith(token)
    const parsed = metadata.tokens.get(0)!
    const fault = "fault" in parsed ? parsed.fault : undefined
    const judged = isTresorToken(parsed)
      ? "used"
      : fault === undefined
        ? "no fault"
        : fault.damaged
          ? "damaged"
          : "unknown"
    assert.equal(judged, verdict, fault?.fact)
    assert.deepEqual(JSON.parse(emitMetadata(metadata)).tokens[0], token, "it is written back as it was")
    if (oddity === "none") assert.deepEqual(shown(parsed as TresorToken), PARSED)
  })
}

test("there are tokens of each kind", () => {
  for (const [verdict, least] of [
    ["used", 7],
    ["damaged", 35],
    ["unknown", 3],
  ] as const) {
    assert.ok(tokens.filter((each) => each.verdict === verdict).length >= least, verdict)
  }
})
