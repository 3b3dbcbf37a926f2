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
import { makeFile, replaceFile } from "./replace-file.ts"

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

test("makeFile makes a file whole once, and leaves a file or link that is there alone", () => {
  const path = join(folder, "once")
  assert.equal(makeFile(path, "first"), true)
  assert.equal(makeFile(path, "second"), false)
  assert.equal(readFileSync(path, "utf8"), "first")
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const victim = join(folder, "nowhere")
  symlinkSync(victim, join(folder, "dangling"))
  assert.equal(makeFile(join(folder, "dangling"), "secret"), false)
  assert.throws(() => readFileSync(victim), { code: "ENOENT" })
  const before = readdirSync(folder).sort()
  assert.throws(() => makeFile(join(folder, "no/such/folder"), "x"), { code: "ENOENT" })
  assert.deepEqual(readdirSync(folder).sort(), before)
})

test("files are renamed and linked into place here only, or by what owns a private directory", () => {
  const allowed = new Set([
    "base/replace-file.ts",
    // Into a directory of 0700 that was made for it, under an unguessable name.
    "control/runtime.ts",
    // In /dev, which is root's: a link.
    "block/link.ts",
    // In the state directory, root's with mode 0700.
    "library/machine.ts",
    // A socket that is listened on: into the name's directory, or one of its caller's.
    "native/listener.ts",
    // tresord's log, made with O_EXCL in the runtime root.
    "tresord/main.ts",
  ])
  const root = fileURLToPath(new URL("..", import.meta.url))
  const found = new Set<string>()
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(root.length)
    if (!path.endsWith(".ts") || path.endsWith(".test.ts") || path.startsWith("testing/")) continue
    if (/\b(rename|(?<!un)link)(Sync)?\(/.test(readFileSync(join(root, path), "utf8"))) found.add(path)
  }
  assert.deepEqual(found, allowed)
})
