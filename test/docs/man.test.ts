import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { test } from "node:test"

for (const page of ["tresor.1", "tresord.8"]) {
  const source = new URL(`../../docs/man/${page}.md`, import.meta.url)
  const built = new URL(`../../docs/man/${page}`, import.meta.url)

  test(`docs/man/${page} is what its Markdown builds`, () => {
    const fresh = execFileSync("lowdown", ["-s", "-Tman", "--out-no-smarty", source.pathname], { encoding: "utf8" })
    assert.equal(readFileSync(built, "utf8"), fresh)
  })

  test(`docs/man/${page} has no error mandoc knows of`, () => {
    execFileSync("mandoc", ["-Tlint", "-W", "error", built.pathname])
  })
}
