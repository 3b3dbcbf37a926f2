import assert from "node:assert/strict"
import { test } from "node:test"
import { Place } from "./harness.ts"

const place = new Place()

test("modelled transitions are shown by status, and absent unless asked for", async () => {
  const { path, keyFile } = await place.volume("modelled.img")
  for (const [name, options, expected] of [
    ["modelled", ["--transition-cycles", "14000"], 14_000],
    ["plain", [], 0],
  ] as const) {
    const opened = await place.tresor(["open", path, name, "--key-file", keyFile, ...options])
    assert.equal(opened.code, 0, opened.stderr)
    const { stdout } = await place.tresor(["status", name])
    assert.equal(/^modelled: +14000 cycles/m.test(stdout), expected > 0, stdout)
    const status = JSON.parse((await place.tresor(["status", name, "--json"])).stdout)
    assert.equal(status.transitionCycles, expected)
    await place.tresor(["close", name])
  }
})
