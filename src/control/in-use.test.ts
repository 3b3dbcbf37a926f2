import assert from "node:assert/strict"
import { test } from "node:test"
import { TresorError } from "../base/errors.ts"
import { checkNotOpen } from "./in-use.ts"
import { runtimeRoot } from "./runtime-root.ts"

/** No session, and a user who never had one. */
const nowhere = () => runtimeRoot({}, 4_000_000)

test("where there is no place for a runtime directory nothing is open, and nothing stops", () => {
  assert.throws(nowhere, { code: "RUNTIME_UNKNOWN" })
  checkNotOpen(import.meta.filename, "change the header of", nowhere)
  const denied = () => {
    throw new TresorError("RUNTIME_NOT_PRIVATE", 2, "others may write to it")
  }
  assert.throws(() => checkNotOpen(import.meta.filename, "change the header of", denied), {
    code: "RUNTIME_NOT_PRIVATE",
  })
})
