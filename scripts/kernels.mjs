/**
 * A second kernel of Debian's for the machines of test/vm: unpacked into the user's cache, so neither what the host
 * boots nor its /lib/modules changes, and root is not needed.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

/** The series with ublk_drv; 6.1, which linux-image-amd64 brings, has none. */
export const laterSeries = "6.12"

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tresor", "kernels")

const byVersion = (a, b) => a.localeCompare(b, "en", { numeric: true })

/** Folder of the newest kernel of the series that the cache holds, as its package unpacks; or null. */
export function cachedKernel(series) {
  if (!existsSync(cache)) return null
  const newest = readdirSync(cache)
    .filter((release) => release.startsWith(`${series}.`))
    .sort(byVersion)
    .at(-1)
  return newest === undefined ? null : { release: newest, folder: join(cache, newest) }
}

function run(command, args, cwd) {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`
  const done = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, PATH: path } })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout}${done.stderr}`)
  return done.stdout
}

/** Downloads what linux-image-SERIES-amd64 stands for today. Throws with apt's words. */
export function fetchKernel(series) {
  const [, release] =
    /Depends: linux-image-(\S+)/.exec(run("apt-cache", ["depends", `linux-image-${series}-amd64`])) ?? []
  if (release === undefined) throw new Error(`apt-cache knows no linux-image-${series}-amd64`)
  mkdirSync(cache, { recursive: true })
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    run("apt-get", ["-q", "download", `linux-image-${release}`], place)
    for (const file of readdirSync(place)) {
      run("dpkg", ["-x", file, "."], place)
      rmSync(join(place, file))
    }
    run("depmod", ["-b", place, release])
    if (!existsSync(join(cache, release))) renameSync(place, join(cache, release))
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}
