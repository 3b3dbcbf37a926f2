/** Exit codes for a path that cannot be opened are cryptsetup's. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"

const NOBODY = 65534
const folder = mkdtempSync(join(tmpdir(), "tresor-exit-"))
chmodSync(folder, 0o755)
const unreadable = join(folder, "unreadable")
writeFileSync(unreadable, "", { mode: 0o600 })
truncateSync(unreadable, 32 << 20)
after(() => rmSync(folder, { recursive: true }))

/** As an ordinary user: root is denied nothing. */
function theirs(path: string): number | null {
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]
  return spawnSync("setpriv", [...user, "cryptsetup", "luksDump", path]).status
}

/** In a process of its own, which has read what it needs before it gives root up. */
function ours(path: string): unknown {
  const script = `
    const { openStore } = await import(${JSON.stringify(new URL("../../src/store/open.ts", import.meta.url).href)})
    process.setegid(${NOBODY})
    process.seteuid(${NOBODY})
    const error = await openStore(${JSON.stringify(path)}, { readOnly: true, direct: false }).then(() => ({}), (e) => e)
    console.log(JSON.stringify([error.code, error.exitCode]))`
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" })
  return JSON.parse(stdout)
}

for (const [what, path, code] of [
  ["a file of somebody else's", unreadable, "STORE_DENIED"],
  ["a path through a file", join(unreadable, "x"), "STORE_MISSING"],
  ["a missing file", join(folder, "missing"), "STORE_MISSING"],
  ["a missing device", "/dev/no-such-device", "STORE_MISSING"],
  ["a directory", folder, "STORE_UNFIT"],
] as const) {
  test(`${what}: cryptsetup's exit code`, () => {
    assert.deepEqual(ours(path), [code, theirs(path)])
  })
}
