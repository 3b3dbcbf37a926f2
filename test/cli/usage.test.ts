import assert from "node:assert/strict"
import { copyFileSync, cpSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place, root, run, tresorPath } from "./harness.ts"

const place = new Place()

/** One line on stderr, nothing on stdout, exit code 1. */
async function refused(args: readonly string[], pattern: RegExp): Promise<void> {
  const { code, stdout, stderr } = await place.tresor(args)
  assert.equal(code, 1, stderr)
  assert.equal(stdout, "")
  assert.match(stderr, pattern)
  assert.match(stderr, /^tresor: error: [^\n]+\n$/)
}

for (const name of ["../x", "a/b", ".", "..", "", "-x", "a b", "a\nb", "x".repeat(128)]) {
  test(`the name ${JSON.stringify(name).slice(0, 20)} is refused and nothing is made`, async () => {
    await refused(["open", "disk.img", "--", name], /as a name/)
    assert.deepEqual(place.names(), [])
  })
}
test("a name too long for its socket is refused with the way out", () =>
  refused(["open", "disk.img", "n".repeat(100)], /107.*TRESOR_RUNTIME_DIR/))

test("an argument that is not UTF-8 is refused; one that is, whatever its letters, is taken as it is", async () => {
  const call = (octal: string) => run("sh", ["-c", `exec "$0" check "$(printf '${octal}')"`, tresorPath])
  const invalid = [
    "\\377.img",
    "\\300\\257",
    "\\340\\200\\200",
    "\\355\\240\\200",
    "\\360\\200\\200\\200",
    "\\364\\220\\200\\200",
    "a\\303",
  ]
  for (const octal of invalid) {
    const { code, stderr } = await call(octal)
    assert.equal(code, 1, octal)
    assert.match(stderr, /^tresor: error: cannot start: argument 2 is not UTF-8; .* by a symbolic link\n$/, octal)
  }
  for (const octal of ["\\303\\244.img", "\\355\\237\\277", "\\364\\217\\277\\277", "\\340\\240\\200", "plain"]) {
    const { code, stderr } = await call(octal)
    assert.equal(code, 4, octal)
    assert.doesNotMatch(stderr, /UTF-8/)
  }
})

test("no arguments show the help on stderr and exit 1", async () => {
  const { code, stdout, stderr } = await place.tresor([])
  assert.equal(code, 1)
  assert.equal(stdout, "")
  assert.match(stderr, /Volumes:/)
})

test("every command's help has an example", async () => {
  const { stdout } = await place.tresor(["--help"])
  const names = [...stdout.matchAll(/^ {2}([a-zA-Z]+)/gm)]
    .map(([, name]) => name!)
    .filter((name) => !["tresor", "help"].includes(name))
  assert.ok(names.length >= 25, names.join(" "))
  for (const name of names) {
    const help = await place.tresor([name, "--help"])
    assert.equal(help.code, 0)
    assert.match(help.stdout, new RegExp(`Examples?:\\n.*tresor ${name}`), name)
  }
})

test("the program starts through a symbolic link and from anywhere", async () => {
  const link = place.path("linked")
  symlinkSync(join(root, "tresor"), link)
  const { code, stdout } = await run(link, ["--version"], { cwd: "/" })
  assert.equal(code, 0)
  assert.match(stdout, /^\d+\.\d+\.\d+\ncommit [0-9a-f]{40}(-dirty)?\nMRENCLAVE [0-9a-f]{64}\n$/)
})

/** The programs without their sources. What the launcher starts cannot be copied by its owner, only made again. */
async function install(there: string): Promise<void> {
  const parts = ["tresor", "dist", "addon/build/Release/tresor.node", "enclave/enclave.conf", "enclave/build"]
  const unreadable = ["tresor", "tresord", "node"].map((name) => join(root, "dist", name))
  for (const part of parts) {
    cpSync(join(root, part), join(there, part), { recursive: true, filter: (path) => !unreadable.includes(path) })
  }
  const words = ["-s", "-C", join(root, "launcher"), `OUT=${join(there, "dist")}`, `NODE=${process.execPath}`]
  const made = await run("make", words)
  assert.equal(made.code, 0, made.stderr)
}

test("the program starts below a path with spaces, installed without its sources", async () => {
  // make takes no blanks in names of targets; moved there it is the same.
  await install(place.path("installed"))
  const there = place.path("a b  c")
  renameSync(place.path("installed"), there)
  const { code, stderr } = await run(join(there, "tresor"), ["--version"], { cwd: "/" })
  assert.equal(code, 0, stderr)
})

test("the programs run with eval forbidden, and without V8's code of them", async () => {
  const there = place.path("bare")
  await install(there)
  const probe = `(function (require, filename) {
    let said = "ran"
    try { eval("1") } catch (error) { said = error.name }
    return { main: () => console.log(said) }
  })`
  writeFileSync(join(there, "dist/tresor.bundle.cjs"), probe)
  for (const cache of ["another program's", "none"]) {
    const { stdout, stderr } = await run(join(there, "tresor"), ["list"])
    assert.deepEqual([stdout, stderr], ["EvalError\n", ""], cache)
    rmSync(join(there, "dist/tresor.cache"), { force: true })
  }
})

test("a checkout to be built says in one line what is missing; a built one needs no Node of the system", async () => {
  const bin = place.path("bin")
  mkdirSync(bin)
  for (const tool of ["sh", "readlink", "find", "flock"]) symlinkSync(`/usr/bin/${tool}`, join(bin, tool))
  const env = { ...place.env, PATH: bin }
  const built = await run("/bin/sh", [join(root, "tresor"), "--version"], { env })
  assert.deepEqual([built.code, built.stderr], [0, ""])
  const clone = place.path("clone")
  mkdirSync(join(clone, "src"), { recursive: true })
  copyFileSync(join(root, "tresor"), join(clone, "tresor"))
  const missing = await run("/bin/sh", [join(clone, "tresor"), "list"], { env })
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /^tresor: error: cannot start: node is needed to build and is not installed; [^\n]+\n$/)
})

test("the product's Node is the pinned one, whatever NODE says: npm sets it to its own", async () => {
  const out = place.path("pinned")
  const env = { NODE: "/bin/true", OUT: "/nowhere", NODE_HEADERS: "/nowhere" }
  const made = await run("make", ["-s", "-C", join(root, "launcher"), `OUT=${out}`], { env })
  assert.equal(made.code, 0, made.stderr)
  const { stdout } = await run(join(out, "node"), ["--version"])
  assert.equal(stdout, `${process.version}\n`)
  rmSync(out, { recursive: true, force: true })
})

test("certificates for TLS are not loaded: nothing here speaks it", async () => {
  // Node would warn of a file it cannot read.
  const { stderr } = await place.tresor(["--version"], { env: { NODE_EXTRA_CA_CERTS: "/does/not/exist" } })
  assert.equal(stderr, "")
})

for (const shell of ["bash", "zsh", "fish"]) {
  test(`the ${shell} completion names commands and options`, async () => {
    const { code, stdout } = await place.tresor(["completion", shell])
    assert.equal(code, 0)
    for (const word of ["umount", "key-file", "allow-discards", "authenticate", "measure"])
      assert.ok(stdout.includes(word), word)
  })
}

test("bash completes commands, options, subcommands", async () => {
  const script = place.file("completion.bash", (await place.tresor(["completion", "bash"])).stdout)
  const complete = async (...words: readonly string[]) => {
    const list = words.map((word) => `'${word}'`).join(" ")
    const { stdout, stderr } = await run("bash", [
      "-c",
      `. '${script}'; COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _tresor; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ])
    assert.equal(stderr, "")
    return stdout.trim().split("\n")
  }
  assert.deepEqual(await complete("tresor", "um"), ["umount"])
  assert.deepEqual(await complete("tresor", "key", "re"), ["remove"])
  assert.deepEqual(await complete("tresor", "open", "--allow"), ["--allow-discards"])
  const keyFile = place.file("unique.key", "")
  assert.deepEqual(await complete("tresor", "open", "--key-file", keyFile.slice(0, -2)), [keyFile])
})
