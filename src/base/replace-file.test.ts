import assert from "node:assert/strict"
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { replaceFile } from "./replace-file.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-replace-"))
after(() => rmSync(folder, { recursive: true }))

test("replaceFile replaces a link, not what it leads to, and leaves nothing beside", () => {
  const victim = join(folder, "victim")
  writeFileSync(victim, "precious")
  const path = join(folder, "file")
  symlinkSync(victim, path)
  // The names that were used before: predictable, and followed.
  for (const name of ["file.new", `file.${process.pid}`]) symlinkSync(victim, join(folder, name))
  replaceFile(path, "new")
  assert.equal(readFileSync(victim, "utf8"), "precious")
  assert.equal(readFileSync(path, "utf8"), "new")
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(folder).sort(), ["file", "file.new", `file.${process.pid}`, "victim"].sort())
})

test("replaceFile that fails leaves the old file and nothing beside", () => {
  const path = join(folder, "directory")
  mkdirSync(join(path, "inside"), { recursive: true })
  const before = readdirSync(folder).sort()
  assert.throws(() => replaceFile(path, "new"), { code: "EISDIR" })
  assert.deepEqual(readdirSync(folder).sort(), before)
})

test("files are renamed into place by replaceFile, or by what owns a private directory", () => {
  const allowed = [
    "replace-file.ts",
    // Into a directory of 0700 that was made for it, under an unguessable name.
    "daemon/runtime.ts",
    // tresord's log, made with O_EXCL in the runtime root.
    "daemon/main.ts",
  ]
  const root = fileURLToPath(new URL(".", import.meta.url))
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(root.length)
    if (!path.endsWith(".ts") || /\.test(ing)?\.ts$/.test(path) || allowed.includes(path)) continue
    assert.doesNotMatch(readFileSync(join(root, path), "utf8"), /\brename(Sync)?\(/, path)
  }
})
