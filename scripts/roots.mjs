/**
 * Roots of Debian and Ubuntu for tests that install packages or boot: made by debootstrap once per list of packages, and
 * kept as tar files in the user's cache. Needs root and the mirror of the packages.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tresor", "roots")
const DEBIAN = "http://deb.debian.org/debian"

/** Ubuntu 24.04. Debian has no package of its keys, so Ubuntu's own is taken, the one it was released with. */
export const UBUNTU = "noble"
const UBUNTU_MIRROR = "http://archive.ubuntu.com/ubuntu"
const UBUNTU_KEYS = {
  url: `${UBUNTU_MIRROR}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb`,
  sha256: "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
  keyring: "usr/share/keyrings/ubuntu-archive-keyring.gpg",
}

/** Tar of a root of `suite`, the smallest that has apt, with `packages` in it. */
export function rootTar(suite, packages = []) {
  const list = [...packages].sort().join(",")
  const key = createHash("sha256").update(`${suite} ${list}`).digest("hex").slice(0, 12)
  return join(cache, `${suite}-${key}.tar`)
}

function run(command, args) {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`
  const done = spawnSync(command, args, { encoding: "utf8", env: { ...process.env, PATH: path }, maxBuffer: 1 << 26 })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout.slice(-2000)}${done.stderr.slice(-2000)}`)
}

/** What debootstrap is told of the suite's archive: options; then mirror and, for a suite it does not know, its script. */
function archiveOf(suite, place) {
  if (suite !== UBUNTU) return { options: [], archive: [DEBIAN] }
  const deb = join(place, "keys.deb")
  run("curl", ["-fsS", "--max-time", "60", "-o", deb, UBUNTU_KEYS.url])
  const sum = createHash("sha256").update(readFileSync(deb)).digest("hex")
  if (sum !== UBUNTU_KEYS.sha256) throw new Error(`${UBUNTU_KEYS.url} is another file than it was: SHA-256 ${sum}`)
  run("dpkg-deb", ["-x", deb, join(place, "keys")])
  // All releases since that one are made the same way.
  return { options: [`--keyring=${join(place, "keys", UBUNTU_KEYS.keyring)}`], archive: [UBUNTU_MIRROR, "gutsy"] }
}

/** Makes what the cache lacks. Throws with debootstrap's words. */
export function makeRoot(suite, packages = []) {
  const tar = rootTar(suite, packages)
  if (existsSync(tar)) return tar
  mkdirSync(cache, { recursive: true })
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    const include = packages.length === 0 ? [] : [`--include=${packages.join(",")}`]
    const { options, archive } = archiveOf(suite, place)
    run("debootstrap", ["--variant=minbase", ...options, ...include, suite, join(place, "root"), ...archive])
    rmSync(join(place, "root/var/cache/apt/archives"), { recursive: true, force: true })
    mkdirSync(join(place, "root/var/cache/apt/archives/partial"), { recursive: true })
    run("tar", ["--numeric-owner", "-C", join(place, "root"), "-cf", join(place, "root.tar"), "."])
    renameSync(join(place, "root.tar"), tar)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
  return tar
}
