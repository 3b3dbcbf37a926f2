import assert from "node:assert/strict"
import { mkdirSync, readdirSync } from "node:fs"
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

test("bench measures in the folder named and leaves nothing there", async () => {
  const folder = place.path("disk")
  mkdirSync(folder)
  const { code, stdout, stderr } = await place.tresor(["bench", folder, "--json"])
  assert.equal(code, 0, stderr)
  assert.equal(stderr, "")
  const report = JSON.parse(stdout)
  assert.equal(report.backend, "software")
  assert.equal(report.folder, folder)
  const names = report.figures.map((figure: { name: string }) => figure.name)
  assert.equal(new Set(names).size, 13)
  for (const { name, value } of report.figures) assert.ok(value > 0 && Number.isFinite(value), `${name}: ${value}`)
  assert.match(report.verdict, /^One core decrypts [0-9.]+ times/)
  assert.deepEqual(readdirSync(folder), [])
  assert.deepEqual(place.names(), [])
})

test("bench refuses anything but a directory, with one line", async () => {
  for (const path of [place.path("absent"), place.file("file", "")]) {
    const { code, stdout, stderr } = await place.tresor(["bench", path])
    assert.equal(code, 4)
    assert.equal(stdout, "")
    assert.match(stderr, /^tresor: error: Cannot measure in [^\n]+directory[^\n]*\n$/)
  }
})
