/**
 * Kernels of Debian's beside the installed one, for the machines of test/vm: unpacked into the user's cache, so neither
 * what the host boots nor its /lib/modules changes, and root is not needed.
 */
import { spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

/** The series with ublk_drv; 6.1, which linux-image-amd64 brings, has none. */
export const laterSeries = "6.12"

/** The first whose ublk changes the size of a device that is in use. */
const RESIZES = "6.16"

/** Where Debian has kernels from then on: none of them is for Debian 12. Asked by lists of its own, not the system's. */
const NEWEST =
  "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie-backports main"

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tresor", "kernels")

const byVersion = (a, b) => a.localeCompare(b, "en", { numeric: true })

/** Release and folder of the newest such kernel that the cache holds, as its packages unpack; or null. */
function newestCached(isWanted) {
  if (!existsSync(cache)) return null
  const newest = readdirSync(cache)
    .filter((release) => /^\d/.test(release) && isWanted(release))
    .sort(byVersion)
    .at(-1)
  return newest === undefined ? null : { release: newest, folder: join(cache, newest) }
}

/** Of a series, such as "6.12". */
export const cachedKernel = (series) => newestCached((release) => release.startsWith(`${series}.`))

/** One that changes the size of a ublk device in use. */
export const cachedNewestKernel = () => newestCached((release) => byVersion(release, RESIZES) >= 0)

function run(command, args, cwd) {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`
  const done = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, PATH: path } })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout}${done.stderr}`)
  return done.stdout
}

/** Downloads and unpacks what the package stands for. `options`: apt's. Throws with apt's words. */
function fetch(name, options) {
  const depends = (of) => run("apt-cache", [...options, "depends", of])
  const [, release] = /Depends: linux-image-(\d\S+)/.exec(depends(name)) ?? []
  if (release === undefined) throw new Error(`apt-cache knows no ${name}`)
  const image = `linux-image-${release}`
  // What later images consist of: base, binary, modules.
  const parts = [...depends(image).matchAll(/Depends: (linux-\S+)/g)].map(([, each]) => each)
  const packages = [image, ...parts.filter((each) => each.endsWith(`-${release}`))]
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    run("apt-get", [...options, "-q", "download", ...packages], place)
    for (const file of readdirSync(place)) {
      run("dpkg", ["-x", file, "."], place)
      rmSync(join(place, file))
    }
    if (!existsSync(join(place, "lib"))) symlinkSync("usr/lib", join(place, "lib"))
    run("depmod", ["-b", place, release])
    if (!existsSync(join(cache, release))) renameSync(place, join(cache, release))
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** What linux-image-SERIES-amd64 stands for today. Throws with apt's words. */
export function fetchKernel(series) {
  mkdirSync(cache, { recursive: true })
  fetch(`linux-image-${series}-amd64`, [])
}

/** Debian's newest. Throws with apt's words. */
export function fetchNewestKernel() {
  mkdirSync(cache, { recursive: true })
  const lists = mkdtempSync(join(cache, ".apt-"))
  const places = {
    "Etc::SourceList": "sources.list",
    "Etc::SourceParts": "none",
    "State::Lists": "lists",
    Cache: "cache",
  }
  const options = Object.entries(places).flatMap(([name, path]) => ["-o", `Dir::${name}=${join(lists, path)}`])
  try {
    for (const each of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(lists, each), { recursive: true })
    writeFileSync(join(lists, "sources.list"), `${NEWEST}\n`)
    run("apt-get", [...options, "-q", "update"])
    fetch("linux-image-amd64", options)
  } finally {
    rmSync(lists, { recursive: true, force: true })
  }
}
