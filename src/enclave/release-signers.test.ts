import assert from "node:assert/strict"
import { test } from "node:test"
import { checkReleased, isReleaseSigner, parseSigners, releaseSigners } from "./release-signers.ts"

const KEY = "ab".repeat(32)

test("the list of release keys: comments, holders, and no line that is only half read", () => {
  assert.deepEqual(
    [...parseSigners(`# none\n\n${KEY}  Example Ltd, an HSM # since 2026\n`)],
    [[KEY, "Example Ltd, an HSM"]],
  )
  for (const bad of [KEY, `${KEY.slice(1)} Example`, `${KEY.toUpperCase()} Example`, "Example", `${KEY}Example`]) {
    assert.throws(() => parseSigners(`# c\n${bad}\n`), { code: "IMAGE_BAD_SIGNERS", message: /line 2 is not/ })
  }
})

test("nothing is sealed for a signer, or trusted for its sake, that is not in the list", () => {
  assert.ok(!isReleaseSigner(KEY))
  checkReleased(KEY, "Cannot seal with policy", parseSigners(`${KEY} Example`))
  assert.throws(() => checkReleased(KEY, "Cannot seal with policy", releaseSigners()), {
    code: "SEAL_UNSIGNED",
    exitCode: 1,
    message: /^Cannot seal with policy mrsigner: .* use mrenclave$/,
  })
})
