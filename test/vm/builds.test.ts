/** tresor.ko builds, without a warning, against each series of kernels that Debian offers. */
import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { buildAgainst, fetchHeaders, offered } from "./kernels.ts"

describe("tresor.ko builds", () => {
  const names = offered()
  test("Debian offers kernels to build against", () => assert.ok(names.length > 0, "apt-cache knows no headers"))
  for (const name of names) {
    test(`against ${name}`, (t) => {
      const headers = fetchHeaders(name)
      if (headers === null) t.skip("Debian's archive cannot be reached")
      else buildAgainst(name, headers)
    })
  }
})
