/**
 * Roots of Debian for tests that install packages or boot: made by debootstrap once per list of packages, and kept as
 * tar files in the user's cache. Needs root and the mirror of Debian's packages.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tresor", "roots")
const mirror = "http://deb.debian.org/debian"

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

/** Makes what the cache lacks. Throws with debootstrap's words. */
export function makeRoot(suite, packages = []) {
  const tar = rootTar(suite, packages)
  if (existsSync(tar)) return tar
  mkdirSync(cache, { recursive: true })
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    const include = packages.length === 0 ? [] : [`--include=${packages.join(",")}`]
    run("debootstrap", ["--variant=minbase", ...include, suite, join(place, "root"), mirror])
    rmSync(join(place, "root/var/cache/apt/archives"), { recursive: true, force: true })
    mkdirSync(join(place, "root/var/cache/apt/archives/partial"), { recursive: true })
    run("tar", ["--numeric-owner", "-C", join(place, "root"), "-cf", join(place, "root.tar"), "."])
    renameSync(join(place, "root.tar"), tar)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
  return tar
}
