/** The models that docs/performance.md names build of the product's present sources. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"

for (const model of ["lanes", "ring-model"]) {
  test(`bench/${model} builds`, () => {
    const build = mkdtempSync(join(tmpdir(), "tresor-model-"))
    try {
      const words = ["-s", "-C", join(import.meta.dirname, model), `BUILD=${build}`]
      const { status, stderr } = spawnSync("make", words, { encoding: "utf8" })
      assert.equal(status, 0, stderr)
    } finally {
      rmSync(build, { recursive: true })
    }
  })
}
