#!/usr/bin/env node
/**
 * The SGX machine: Debian's QEMU with sgx-machine/ in it.
 *
 *   node scripts/sgx-machine.mjs    builds it unless the user's cache has it, and prints the program's path
 *
 * The first time takes some minutes on two processors, of which about three are computing. The cache's key is all that
 * the program is made of: our files, the options, the version of Debian's QEMU, the compiler and the libraries. The
 * packages to build with are installed, or named where that needs root (scripts/packages.mjs); nothing else changes
 * outside the cache.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { availableParallelism, homedir } from "node:os"
import { join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { ensurePackages } from "./packages.mjs"
import { root } from "./runtime.mjs"

const program = "qemu-system-x86_64"
const ours = join(root, "sgx-machine")
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tresor", "sgx-machine")

/** Its firmware and ROMs come from there: Debian's source has none. */
export const firmware = ["/usr/share/seabios", "/usr/share/qemu"]

/** Everything that this machine does not need is left out, for the time that building takes. */
const options = [
  "--target-list=x86_64-softmmu",
  "--without-default-features",
  "--without-default-devices",
  "--with-devices-x86_64=sgx-machine",
  "--enable-tcg",
  "--enable-virtfs",
  "--enable-attr",
  "--enable-cap-ng",
  "--enable-nettle",
  "--disable-fdt",
  "--disable-kvm",
  "--disable-docs",
  "--disable-tools",
  "--disable-guest-agent",
  "--disable-werror",
  "--disable-install-blobs",
  "--disable-debug-info",
  "--disable-stack-protector",
]

/** What is linked in, or decides how: their versions are part of the key. */
const libraries = ["libglib2.0-dev", "libpixman-1-dev", "nettle-dev", "libgmp-dev", "libcap-ng-dev", "libattr1-dev"]

function run(command, args, cwd) {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  })
  if (done.error !== undefined) throw new Error(`cannot run ${command}: ${done.error.message}`)
  if (done.status !== 0) {
    const said = `${done.stdout}${done.stderr}`.trimEnd().split("\n").slice(-40).join("\n")
    throw new Error(`${command} ${args.join(" ")} failed:\n${said}`)
  }
  return done.stdout
}

/** Of the firmware that is installed: it and the source belong together. */
function installedVersion() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own
  const version = run("dpkg-query", ["-W", "-f", "${source:Version}", "qemu-system-data"])
  if (/^1:7\.2\+/.test(version)) return version
  throw new Error(`sgx-machine/qemu.patch is for QEMU 7.2, Debian 12's, and this machine has ${version}`)
}

const files = (directory) =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()

function keyOf(version) {
  const hash = createHash("sha256")
  for (const file of [join(ours, "qemu.patch"), ...files(join(ours, "qemu"))]) {
    const bytes = readFileSync(file)
    hash.update(`${relative(ours, file)} ${bytes.length}\n`).update(bytes)
  }
  const versions = run("dpkg-query", ["-W", ...libraries])
  return hash
    .update(JSON.stringify([options, version, versions, run("gcc", ["--version"])]))
    .digest("hex")
    .slice(0, 32)
}

/** Where this machine has Debian's packages from, as lines "URI RELEASE COMPONENT". */
function debianArchives() {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
  const configured = run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"])
  const lines = new Set(configured.split("\n").filter((line) => /^\S+ \S+ main Debian$/.test(line)))
  return [...lines].map((line) => line.replace(/ Debian$/, ""))
}

/** Which of the offered versions to build: the installed one, else, when the archive has dropped that, the newest 7.2. */
export function chooseVersion(installed, offered) {
  if (offered.includes(installed)) return installed
  const fitting = offered.filter((each) => /^1:7\.2\+/.test(each))
  const newest = fitting.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1)
  if (newest === undefined)
    throw new Error(`Debian's archive offers no source of QEMU 7.2 (it has: ${offered.join(" ")})`)
  return newest
}

/** Debian's source with Debian's patches. The lists of source packages are kept apart from the system's. */
function fetchSource(installed, place) {
  const lists = join(place, "lists")
  const sources = join(place, "sources.list")
  mkdirSync(join(lists, "partial"), { recursive: true })
  let archives = debianArchives()
  // An image of a container often has no lists.
  if (archives.length === 0 && process.getuid() === 0) {
    run("apt-get", ["-q", "update"])
    archives = debianArchives()
  }
  if (archives.length === 0) throw new Error("apt knows no package of Debian's; as root: apt-get update")
  const signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
  writeFileSync(sources, archives.map((line) => `deb-src ${signed} ${line}\n`).join(""))
  const options = [
    ...["-q", "-o", `Dir::State::Lists=${lists}`, "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3"],
    ...["-o", `Dir::Etc::SourceList=${sources}`, "-o", "Dir::Etc::SourceParts=/dev/null"],
    ...["-o", `Dir::Cache::srcpkgcache=${join(place, "srcpkgcache.bin")}`],
    ...["-o", `Dir::Cache::pkgcache=${join(place, "pkgcache.bin")}`, "-o", "APT::Sandbox::User=root"],
  ]
  run("apt-get", [...options, "update"], place)
  const known = run("apt-cache", [...options, "showsrc", "--only-source", "qemu"], place)
  const version = chooseVersion(
    installed,
    [...known.matchAll(/^Version: (\S+)$/gm)].map(([, each]) => each),
  )
  run("apt-get", [...options, "source", "--download-only", `qemu=${version}`], place)
  const description = readdirSync(place).find((name) => name.endsWith(".dsc"))
  if (description === undefined) throw new Error(`apt-get source left no qemu ${version}`)
  // apt has checked it already.
  run("dpkg-source", ["--no-check", "-x", description, "source"], place)
  return join(place, "source")
}

/** What an interrupted build has left, 600 MB each; one that still runs is younger. */
function removeRemains() {
  const oldest = Date.now() - 6 * 3600 * 1000
  for (const name of readdirSync(cache).filter((each) => each.startsWith(".new-"))) {
    const path = join(cache, name)
    if (statSync(path).mtimeMs < oldest) rmSync(path, { recursive: true, force: true })
  }
}

function build(version, target) {
  mkdirSync(cache, { recursive: true })
  removeRemains()
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    const source = fetchSource(version, place)
    run("cp", ["-r", `${join(ours, "qemu")}/.`, source])
    run("patch", ["-p1", "--no-backup-if-mismatch", "-i", join(ours, "qemu.patch")], source)
    const objects = join(place, "build")
    mkdirSync(objects)
    run(join(source, "configure"), options, objects)
    run("nice", ["ninja", `-j${availableParallelism()}`, program], objects)
    run("strip", [program], objects)
    const finished = join(place, "finished")
    mkdirSync(finished)
    renameSync(join(objects, program), join(finished, program))
    if (!existsSync(target)) renameSync(finished, target)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** Folder in the cache of what these files, options and packages make. */
export const cachedAt = () => join(cache, keyOf(installedVersion()))

/** Path of the program, built when it has to be. say is told when that takes its time. */
export function sgxMachine(say = () => undefined) {
  const version = installedVersion()
  const target = cachedAt()
  if (!existsSync(join(target, program))) {
    say(`building the SGX machine from Debian's qemu ${version}: some minutes, once`)
    build(version, target)
  }
  return join(target, program)
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    if (!ensurePackages(["sgxMachine"])) process.exit(1)
    process.stdout.write(`${sgxMachine((text) => process.stderr.write(`sgx-machine: ${text}\n`))}\n`)
  } catch (error) {
    process.stderr.write(`sgx-machine: error: Cannot build the SGX machine: ${error.message}\n`)
    process.exit(1)
  }
}
