#!/usr/bin/env node
/**
 * The layout of the C sources, by clang-format 14 (others lay out otherwise)
 * and the .clang-format at the top.
 *
 *   node scripts/format-c.mjs           names the lines that are laid out otherwise; exits 1 if there are any
 *   node scripts/format-c.mjs --write   lays them out
 *
 * Files that were right are noted in build/format-c.json by their content, and not looked at again.
 *
 * Two gaps stand as their author set them, because clang-format knows no way to
 * say "tabs": before a comment at a line's end, and between an enumerator and its
 * value. So do macros whole: what one is to look like, it cannot know.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./runtime.mjs"

/**
 * Not kernel/, nor those of bench/ that compile its files: their layout is the
 * kernel's own, whose macros that look like loops and qualifiers clang-format
 * has to be told one by one.
 */
const folders = ["abi", "addon", "bench/vhost", "generator", "launcher", "lock", "test"]

/** What clang-format would put in place of which bytes: white space both. */
function replacementsOf(file) {
  const ran = spawnSync("clang-format-14", ["--style=file", "--output-replacements-xml", file], { cwd: root })
  if (ran.status !== 0) throw new Error(`clang-format-14: ${ran.error?.message ?? ran.stderr}`)
  return [...String(ran.stdout).matchAll(/<replacement offset='(\d+)' length='(\d+)'>([^<]*)<\/replacement>/g)].map(
    ([, offset, length, text]) => ({
      start: Number(offset),
      end: Number(offset) + Number(length),
      text: text.replaceAll("&#10;", "\n").replaceAll("&#13;", "\r"),
    }),
  )
}

/** Whether what the author wrote stands. */
function stands(source, { start, end, text }) {
  let line = source.lastIndexOf("\n", start - 1) + 1
  const before = source.subarray(line, start).toString()
  while (source.subarray(line - 2, line).toString() === "\\\n") line = source.lastIndexOf("\n", line - 2) + 1
  if (source[line] === "#".charCodeAt(0)) return true
  if (text.includes("\n") || source.subarray(start, end).includes("\n") || before.trim() === "") return false
  const after = source.subarray(end, end + 2).toString()
  return end > start && (after === "/*" || (after === "= " && /^\s*[A-Z]\w+$/.test(before)))
}

const lineOf = (source, offset) => source.subarray(0, offset).toString().split("\n").length

/** Of what decides whether a file is right, but the file. */
function fingerprintOfRules() {
  const version = execFileSync("clang-format-14", ["--version"])
  const hash = createHash("sha256").update(version)
  for (const path of [".clang-format", "scripts/format-c.mjs"]) hash.update(readFileSync(join(root, path)))
  return hash.digest("hex")
}

const notes = join(root, "build/format-c.json")
const rules = fingerprintOfRules()
const known = new Set(existsSync(notes) ? JSON.parse(readFileSync(notes, "utf8")) : [])
/** Of files that are right. */
const right = []
const keyOf = (source) => createHash("sha256").update(rules).update(source).digest("hex")

const write = process.argv.includes("--write")
const files = execFileSync("git", ["ls-files", "--", ...folders], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => /\.[ch]$/.test(file))
let wrong = 0
for (const file of files) {
  const path = join(root, file)
  const source = readFileSync(path)
  const key = keyOf(source)
  const changes = known.has(key) ? [] : replacementsOf(path).filter((each) => !stands(source, each))
  if (changes.length === 0) {
    right.push(key)
    continue
  }
  if (write) {
    const parts = []
    let at = 0
    for (const { start, end, text } of changes) {
      parts.push(source.subarray(at, start), Buffer.from(text))
      at = end
    }
    writeFileSync(path, Buffer.concat([...parts, source.subarray(at)]))
    continue
  }
  for (const line of new Set(changes.map(({ end }) => lineOf(source, end)))) {
    wrong++
    console.error(`${file}:${line}: clang-format lays this line out otherwise`)
  }
}
mkdirSync(join(root, "build"), { recursive: true })
writeFileSync(notes, JSON.stringify(right))
if (wrong > 0) {
  console.error("node scripts/format-c.mjs --write lays them out")
  process.exit(1)
}
