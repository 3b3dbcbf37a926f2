#!/usr/bin/env node
/**
 * `npm run package`: build/tresor_VERSION_amd64.deb and build/tresor-dkms_VERSION_all.deb, staged by the Makefile's
 * install targets. Needs what the build needs, dpkg-dev, and fakeroot when it is not run by root: nobody but
 * root reads files of mode 0111.
 *
 * Two builds of one commit are equal, byte for byte, with one thing as input: the SIGSTRUCTs. The key that made
 * them is gone, so whoever builds again puts the published ones into enclave/build first; a valid one stays.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  chmodSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join, relative } from "node:path"
import { gzipSync } from "node:zlib"
import { isPinned, pinPath, rerunPinned, root } from "./runtime.mjs"

const build = join(root, "build")
const stages = join(build, "package")

function fail(fact) {
  process.stderr.write(`package: error: Cannot build the packages: ${fact}\n`)
  process.exit(1)
}

function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26, ...options })
  } catch (error) {
    if (error.code === "ENOENT")
      fail(`${command} is not installed; install dpkg-dev and binutils (as another user than root, fakeroot too)`)
    fail(`${command} ${args[0]}: ${(error.stderr ?? error.message).toString().trim()}`)
  }
}

/** Seconds since 1970 of all that is made here: the commit's. */
function epoch() {
  const given = process.env.SOURCE_DATE_EPOCH ?? ""
  if (/^\d{1,11}$/.test(given)) return Number(given)
  const { status, stdout } = spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" })
  if (status !== 0) fail("this is no git checkout, so the date is unknown; set SOURCE_DATE_EPOCH")
  return Number(stdout)
}

const read = (path) => readFileSync(join(root, path), "utf8")

/** Every file and folder below `folder`, as paths relative to it, in a fixed order. */
function tree(folder) {
  return readdirSync(folder, { recursive: true }).sort()
}

/** At most 78 columns; `lead` before the first line, blanks of its width before the others. */
function wrapped(text, lead) {
  const lines = []
  let line = lead
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length > 77 && line.trim() !== "") {
      lines.push(line.trimEnd())
      line = " ".repeat(lead.length)
    }
    line += `${word} `
  }
  return [...lines, line.trimEnd()].join("\n")
}

/** CHANGELOG.md in the form of Debian's. */
export function debianChangelog(name, text, { version, maintainer, date }) {
  const entries = text
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [title, ...rest] = section.split("\n")
      const [, number, day] = /^(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$/.exec(title) ?? []
      const items = rest
        .join("\n")
        .split(/^(?=- |### )/m)
        .map((item) => item.trim())
        .filter((item) => /^(- |### )/.test(item))
        .map((item) => (item.startsWith("- ") ? wrapped(item.slice(2), "  * ") : `  [ ${item.slice(4)} ]`))
      const released = (day === undefined ? date : new Date(`${day}T00:00:00Z`)).toUTCString().replace("GMT", "+0000")
      return { version: number ?? version, items, released }
    })
    .filter(({ items }) => items.length > 0)
  return entries
    .map(
      (entry) =>
        `${name} (${entry.version}) unstable; urgency=medium\n\n${entry.items.join("\n")}\n\n -- ${maintainer}  ${entry.released}\n`,
    )
    .join("\n")
}

/** Licenses of what the bundles and dist/node contain: every npm package but those of the build. */
function licenses() {
  const { packages } = JSON.parse(read("package-lock.json"))
  const shipped = Object.entries(packages).filter(
    ([path, { dev, peer }]) => path !== "" && dev !== true && peer !== true && !path.endsWith("/typescript"),
  )
  return shipped.map(([path, { version, license }]) => {
    const files = readdirSync(join(root, path)).filter((name) => /^(licen[cs]e|copying)/i.test(name))
    const texts = files.map((file) => read(join(path, file)).trim())
    // protobuf's package has none: Apache-2.0 as above; its few lines under BSD-3-Clause are in the bundle's source.
    const text = texts.length > 0 ? texts.join("\n\n") : `License: ${license}; see https://www.npmjs.com/package/`
    return `${"-".repeat(78)}\n${path.slice("node_modules/".length)} ${version} (${license})\n\n${text}\n`
  })
}

/** "libc6 (>= 2.34), …" of programs below `stage`, as dpkg-shlibdeps finds them. */
function libraries(stage) {
  const folder = join(stages, "shlibdeps")
  mkdirSync(join(folder, "debian"), { recursive: true })
  writeFileSync(join(folder, "debian/control"), "Source: tresor\n\nPackage: tresor\nArchitecture: amd64\n")
  const programs = ["dist/node", "addon/build/Release/tresor.node", "tresor-lock"].map((path) =>
    join(stage, "usr/lib/tresor", path),
  )
  const found = run("dpkg-shlibdeps", ["-O", ...programs], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] })
  return found.trim().replace(/^shlibs:Depends=/, "")
}

/** Files of packaging/NAME.*, with what only the build knows put in. */
function controlFiles(stage, name, values) {
  const fill = (text) => text.replace(/@([A-Z]+)@/g, (_, key) => values[key] ?? fail(`packaging has no @${key}@`))
  const control = join(stage, "DEBIAN")
  mkdirSync(control, { recursive: true })
  const stanza = read("packaging/control")
    .split(/\n\n(?=Package: )/)
    .find((each) => each.startsWith(`Package: ${name}\n`))
  writeFileSync(join(control, "control"), `${fill(stanza).trimEnd()}\n`)
  for (const script of ["preinst", "postinst", "prerm", "postrm", "templates"]) {
    const path = join("packaging", `${name}.${script}`)
    if (!existsSync(join(root, path))) continue
    writeFileSync(join(control, script), fill(read(path)))
    chmodSync(join(control, script), script === "templates" ? 0o644 : 0o755)
  }
  const files = tree(stage).filter((path) => !path.startsWith("DEBIAN") && lstatSync(join(stage, path)).isFile())
  const sums = files.map(
    (path) =>
      `${createHash("md5")
        .update(readFileSync(join(stage, path)))
        .digest("hex")}  ${path}\n`,
  )
  writeFileSync(join(control, "md5sums"), sums.join(""))
  const settings = files.filter((path) => path.startsWith("etc/")).map((path) => `/${path}\n`)
  if (settings.length > 0) writeFileSync(join(control, "conffiles"), settings.join(""))
}

const gzip = (text) => gzipSync(text, { level: 9 })

/** What every package has: changelog, copyright, compressed man pages and documents, overrides of lintian. */
function documents(stage, name, { version, maintainer, date }) {
  const folder = join(stage, "usr/share/doc", name)
  mkdirSync(folder, { recursive: true })
  for (const path of tree(stage)) {
    const file = join(stage, path)
    if (!/\/man\/man\d\/|\/doc\/.*\.md$/.test(`/${path}`) || !lstatSync(file).isFile()) continue
    const text = readFileSync(file)
    // Debian's rule: documents from 4 KiB on, man pages always.
    if (text.length < 4096 && path.includes("/doc/")) continue
    writeFileSync(`${file}.gz`, gzip(text))
    rmSync(file)
  }
  rmSync(join(folder, "LICENSE"), { force: true })
  // The changelog below is it.
  rmSync(join(folder, "CHANGELOG.md.gz"), { force: true })
  writeFileSync(
    join(folder, "changelog.gz"),
    gzip(debianChangelog(name, read("CHANGELOG.md"), { version, maintainer, date })),
  )
  const others = name === "tresor" ? [read("LICENSE"), ...licenses()].slice(1) : []
  writeFileSync(join(folder, "copyright"), [read(`packaging/${name}.copyright`), ...others].join("\n"))
  const overrides = join(root, "packaging", `${name}.lintian-overrides`)
  if (existsSync(overrides)) {
    mkdirSync(join(stage, "usr/share/lintian/overrides"), { recursive: true })
    writeFileSync(join(stage, "usr/share/lintian/overrides", name), readFileSync(overrides))
  }
}

/** KiB as Debian counts them: each file rounded up, a KiB for everything else. */
function size(stage) {
  const kib = (path) => {
    const stat = lstatSync(join(stage, path))
    return stat.isFile() ? Math.ceil(stat.size / 1024) : 1
  }
  return tree(stage)
    .filter((path) => !path.startsWith("DEBIAN"))
    .reduce((sum, path) => sum + kib(path), 0)
}

function makePackage(name, architecture, target, facts) {
  const stage = join(stages, name)
  run("make", ["-s", target, `DESTDIR=${stage}`, "PREFIX=/usr", "SYSCONFDIR=/etc"])
  documents(stage, name, facts)
  controlFiles(stage, name, {
    VERSION: facts.version,
    MAINTAINER: facts.maintainer,
    SIZE: String(size(stage)),
    LIBRARIES: name === "tresor" ? libraries(stage) : "",
  })
  for (const path of [".", ...tree(stage)]) {
    const file = join(stage, path)
    if (lstatSync(file).isDirectory()) chmodSync(file, 0o755)
    lutimesSync(file, facts.seconds, facts.seconds)
  }
  const deb = join(build, `${name}_${facts.version}_${architecture}.deb`)
  // xz at its fastest is smaller here than zstd at its usual best, and takes 8 s; every dpkg reads it.
  run("dpkg-deb", ["--root-owner-group", "-Zxz", "-z1", "--build", stage, `${deb}.new`])
  renameSync(`${deb}.new`, deb)
  process.stdout.write(`${relative(root, deb)}\n`)
}

function main() {
  process.umask(0o022)
  const seconds = epoch()
  process.env.SOURCE_DATE_EPOCH = String(seconds)
  process.env.LC_ALL = "C.UTF-8"
  if (spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: ["ignore", 2, 2] }).status !== 0)
    process.exit(1)
  if (!isPinned()) rerunPinned()
  pinPath()
  if (process.getuid() !== 0) {
    const { status, error } = spawnSync("fakeroot", [process.execPath, ...process.argv.slice(1)], { stdio: "inherit" })
    if (error !== undefined) fail("fakeroot is not installed; install it, or run this as root")
    process.exit(status ?? 1)
  }
  rmSync(stages, { recursive: true, force: true })
  const { version } = JSON.parse(read("package.json"))
  const { DEBFULLNAME = "Tresor maintainers", DEBEMAIL = "maintainers@tresor.example" } = process.env
  const facts = { version, maintainer: `${DEBFULLNAME} <${DEBEMAIL}>`, date: new Date(seconds * 1000), seconds }
  makePackage("tresor", "amd64", "install", facts)
  makePackage("tresor-dkms", "all", "install-module-source", facts)
  rmSync(stages, { recursive: true, force: true })
}

if (basename(process.argv[1] ?? "") === basename(import.meta.filename) && dirname(process.argv[1]) !== "") main()
