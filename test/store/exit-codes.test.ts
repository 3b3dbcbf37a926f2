/** Exit codes for a path that cannot be opened are cryptsetup's. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { TresorError } from "../../src/base/errors.ts"
import { openStore } from "../../src/store/open.ts"

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

async function ours(path: string): Promise<{ readonly code: string; readonly exitCode: number }> {
  process.setegid?.(NOBODY)
  process.seteuid?.(NOBODY)
  try {
    await (await openStore(path, { readOnly: true, direct: false })).close()
  } catch (error) {
    if (error instanceof TresorError) return error
    throw error
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
  throw new Error(`${path} could be opened`)
}

for (const [what, path, code] of [
  ["a file of somebody else's", unreadable, "STORE_DENIED"],
  ["a path through a file", join(unreadable, "x"), "STORE_MISSING"],
  ["a missing file", join(folder, "missing"), "STORE_MISSING"],
  ["a missing device", "/dev/no-such-device", "STORE_MISSING"],
  ["a directory", folder, "STORE_UNFIT"],
] as const) {
  test(`${what}: cryptsetup's exit code`, async () => {
    const error = await ours(path)
    assert.deepEqual([error.code, error.exitCode], [code, theirs(path)])
  })
}
