/** `npm run package`: what the packages hold, that lintian accepts them, and that a second build is the same. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { before, test } from "node:test"
import { PRODUCT, VECTORS } from "../../src/enclave/image/files.ts"
import { Place, root, run } from "../cli/harness.ts"
import { builtPackages, type Packages } from "./packages.ts"

const place = new Place()
let built: Packages

before(() => {
  built = builtPackages()
})

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex")

/** Mode and path of everything in a package. */
async function contents(deb: string): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await run("dpkg-deb", ["-c", deb])
  return new Map(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/))
      .map(([mode, owner, , , , path]) => [path!.replace(/^\./, ""), `${mode} ${owner}`]),
  )
}

test("the program's package has each file in its place, owned by root", async () => {
  const files = await contents(built.tresor)
  for (const path of [
    "/usr/bin/tresor",
    "/usr/sbin/tresord",
    "/usr/lib/tresor/addon/build/Release/tresor.node",
    "/usr/lib/tresor/enclave/build/tresor.sigstruct",
    "/usr/share/man/man1/tresor.1.gz",
    "/usr/share/man/man5/tresortab.5.gz",
    "/usr/share/man/man8/tresord.8.gz",
    "/usr/share/man/man8/tresor-lock.service.8.gz",
    "/usr/lib/systemd/system-generators/tresor-generator",
    "/usr/lib/systemd/system/tresor-unlock@.service",
    "/usr/lib/systemd/system/tresor.target",
    "/usr/lib/systemd/system/tresor-apparmor.service",
    "/etc/apparmor.d/tresord",
    "/usr/share/bash-completion/completions/tresor",
    "/usr/share/zsh/vendor-completions/_tresor",
    "/usr/share/fish/vendor_completions.d/tresor.fish",
    "/usr/lib/systemd/system/tresor@.service",
    "/usr/lib/systemd/system/tresor-sleep@.service",
    "/usr/lib/systemd/system/tresor-lock.service",
    "/usr/lib/systemd/system/tresor-ask@.service",
    "/usr/lib/tresor/tresor-lock",
    "/usr/lib/udev/rules.d/60-tresor.rules",
    "/usr/sbin/mount.tresor",
    "/usr/sbin/umount.tresor",
    "/usr/share/man/man8/mount.tresor.8.gz",
    "/usr/lib/tmpfiles.d/tresor.conf",
    "/usr/share/doc/tresor/changelog.gz",
    "/usr/share/doc/tresor/copyright",
  ])
    assert.ok(files.has(path), path)
  // A process of a program its user cannot read is not dumpable.
  for (const program of ["node", "tresor", "tresord"])
    assert.equal(files.get(`/usr/lib/tresor/dist/${program}`), "---x--x--x root/root", program)
  assert.deepEqual(
    [...files].filter(([, text]) => !text.endsWith(" root/root")),
    [],
  )
  assert.deepEqual(
    [...files.keys()].filter((path) => /\.(pem|o|ts|mjs|ko)$|\/test\//.test(path)),
    [],
  )
})

test("the module's package has what DKMS compiles, and its udev rule", async () => {
  const files = await contents(built.dkms)
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string }
  for (const path of ["dkms.conf", "kernel/Kbuild", "kernel/Makefile", "kernel/main.c", "abi/kmod.h"])
    assert.ok(files.has(`/usr/src/tresor-${version}/${path}`), path)
  assert.ok(files.has("/usr/lib/udev/rules.d/70-tresor.rules"))
})

/** What the oldest of the systems has that it is for, Debian 12: glibc 2.36, libraries of GCC 12, systemd 252. */
const OLDEST: Readonly<Record<string, string>> = {
  GLIBC: "2.36",
  GLIBCXX: "3.4.30",
  CXXABI: "1.3.13",
  GCC: "12.0.0",
  LIBSYSTEMD: "252",
}
/** Packages of the same names in Debian 12, Debian 13 and Ubuntu 24.04, which has glibc 2.39. */
const EVERYWHERE = ["debconf", "debconf-2.0", "libc6", "libgcc-s1", "libstdc++6", "libsystemd0"]

test("it depends on packages that Debian 12, 13 and Ubuntu 24.04 have, and on no newer symbols of theirs", async () => {
  const { stdout } = await run("dpkg-deb", ["-f", built.tresor, "Depends"])
  const names = stdout.split(/[,|]/).map((each) => each.trim().split(" ")[0]!)
  assert.deepEqual(
    names.filter((name) => !EVERYWHERE.includes(name)),
    [],
  )
  const tree = place.path("tree")
  assert.equal((await run("dpkg-deb", ["-x", built.tresor, tree])).code, 0)
  let programs = 0
  const newer: string[] = []
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    // Programs of mode 0111 are root's to read.
    if (!entry.isFile() || !readFileSync(path).subarray(0, 4).equals(Buffer.from("\x7fELF", "latin1"))) continue
    const { stdout: versions } = await run("readelf", ["--version-info", "--wide", path])
    const needs = [...versions.matchAll(/Name: ([A-Z]+)_([\d.]+) /g)]
    if (needs.length > 0) programs++
    for (const [, library = "", version = ""] of needs)
      if (version.localeCompare(OLDEST[library] ?? "", "en", { numeric: true }) > 0)
        newer.push(`${entry.name}: ${library}_${version}`)
  }
  // Node, the addon, the generator, tresor-lock; the launcher is static.
  assert.ok(programs >= 4, `${programs}`)
  assert.deepEqual(newer, [])
})

test("lintian has nothing to say but what is overridden with a reason", async () => {
  const { stdout, code } = await run("lintian", ["--fail-on=error,warning", built.tresor, built.dkms])
  assert.deepEqual([code, stdout], [0, ""])
  const overrides = readFileSync(join(root, "packaging/tresor.lintian-overrides"), "utf8")
  const { stdout: shown } = await run("lintian", ["--show-overrides", built.tresor])
  for (const tag of new Set([...overrides.matchAll(/^tresor: (\S+)/gm)].map(([, tag]) => tag!)))
    assert.match(shown, new RegExp(`^O: tresor: ${tag}\\b`, "m"), `the override of ${tag} is of no use`)
})

test("another user's build of the same commit in another folder is the same, given the signatures", () => {
  const other = place.path("other")
  const quiet = { stdio: ["ignore", "ignore", "inherit"] } as const
  const must = (command: string, args: readonly string[], options: object = quiet) =>
    assert.equal(spawnSync(command, args, options).status, 0, `${command} ${args.join(" ")}`)
  must("git", ["clone", "-q", root, other])
  // What is not committed yet too.
  const git = (...args: readonly string[]) =>
    spawnSync("git", args, { cwd: root, encoding: "utf8" })
      .stdout.split("\0")
      .filter((path) => path !== "")
  for (const path of git("ls-files", "-zcom", "--exclude-standard")) {
    if (existsSync(join(root, path))) cpSync(join(root, path), join(other, path))
    else rmSync(join(other, path), { force: true })
  }
  must("cp", ["-a", "--reflink=auto", join(root, "node_modules"), other])
  const inputs = ["build/stamps/packages", PRODUCT.sigstruct, VECTORS.sigstruct]
  for (const path of inputs) {
    mkdirSync(dirname(join(other, path)), { recursive: true })
    cpSync(join(root, path), join(other, path))
  }
  const user = process.getuid!() === 0 ? { uid: 65534, gid: 65534 } : {}
  if (process.getuid!() === 0) {
    must("chown", ["-R", "65534:65534", other])
    must("chmod", ["755", place.folder])
  }
  const env = { ...process.env, ...place.env, HOME: other, TRESOR_STATE_DIR: join(other, "build/state") }
  must(process.execPath, ["scripts/package.mjs"], { cwd: other, env, ...user, ...quiet })
  const sums = (deb: string) => spawnSync("dpkg-deb", ["-I", deb, "md5sums"], { encoding: "utf8" }).stdout.split("\n")
  for (const deb of [built.tresor, built.dkms]) {
    const again = join(other, deb.slice(root.length))
    assert.deepEqual(sums(again), sums(deb))
    assert.equal(sha256(again), sha256(deb), deb)
  }
})
