/**
 * Debian's kernels: the three that machines boot, and the headers of all that its
 * repositories offer to this machine, unpacked beside the installed ones, which
 * stay as they are.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cachedKernel, cachedNewestKernel, laterSeries } from "../../scripts/kernels.mjs"
import { type Kernel, root, run } from "./machine.ts"

const directory = join(root, "build", "kernels")

/** Debian 12's own, 6.1: the newest installed one, whatever else /boot holds. */
export function stockKernel(): Kernel {
  const release = readdirSync("/boot")
    .map((name) => /^vmlinuz-(6\.1\..*-amd64)$/.exec(name)?.[1] ?? "")
    .filter((each) => existsSync(`/lib/modules/${each}/build/Makefile`))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .at(-1)
  if (release === undefined) {
    throw new Error(
      "Cannot start a machine: no image of 6.1 with its headers; apt-get install linux-image-amd64 linux-headers-amd64",
    )
  }
  return { release, image: `/boot/vmlinuz-${release}`, modulesRoot: "/" }
}

/** Debian 12's later one, with ublk_drv: in the cache, never installed. */
export function laterKernel(): Kernel {
  const cached = cachedKernel(laterSeries)
  if (cached === null) {
    throw new Error(`Cannot start a machine: no ${laterSeries} kernel in the cache; \`npm run test:vm\` downloads it`)
  }
  return inCache(cached)
}

/** Debian's newest, whose ublk changes the size of a device in use. `null`: it is not in the cache. */
export function newestKernel(): Kernel | null {
  const cached = cachedNewestKernel()
  return cached === null ? null : inCache(cached)
}

function inCache({ release, folder }: { readonly release: string; readonly folder: string }): Kernel {
  const images = [join(folder, "boot", `vmlinuz-${release}`), join(folder, "lib/modules", release, "vmlinuz")]
  return { release, image: images.find((each) => existsSync(each)) ?? images[0]!, modulesRoot: folder }
}

/** Name without linux-headers-: the newest of each series (6.1, 6.12), plain and real-time. */
export function offered(): string[] {
  const names = run("apt-cache", ["search", "--names-only", "^linux-headers-[0-9].*-amd64$"])
    .toString()
    .split("\n")
    .map((line) => line.split(" ")[0]?.replace("linux-headers-", "") ?? "")
    // "6.1-amd64" stands for the newest one; cloud kernels are plain ones with less in them.
    .filter((name) => /^\d+\.\d+\.\d+/.test(name) && !name.includes("cloud"))
  const newest = new Map<string, string>()
  for (const name of names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const series = /^\d+\.\d+/.exec(name)?.[0] ?? ""
    newest.set(`${series}${name.includes("-rt-") ? "-rt" : ""}`, name)
  }
  return [...newest.values()]
}

/** The packages a header package needs to build with: the common part, and Kbuild's programs. */
function needed(name: string): string[] {
  const needs = run("apt-cache", ["depends", `linux-headers-${name}`])
    .toString()
    .matchAll(/Depends: (linux-(?:headers-\S+-common\S*|kbuild-\S+))/g)
  return [`linux-headers-${name}`, ...[...needs].map(([, each = ""]) => each)]
}

/** `null`: the archive cannot be reached. Else what KDIR is to be. */
export function fetchHeaders(name: string): string | null {
  const place = join(directory, name)
  const headers = join(place, "usr/src", `linux-headers-${name}`)
  if (existsSync(join(place, "done"))) return headers
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  try {
    run("apt-get", ["-q", "download", ...needed(name)], { cwd: place })
  } catch (error) {
    if (/Could not (resolve|connect)|Temporary failure|Failed to fetch/.test((error as Error).message)) return null
    throw error
  }
  for (const file of readdirSync(place).filter((each) => each.endsWith(".deb"))) {
    run("dpkg", ["-x", file, "."], { cwd: place })
    rmSync(join(place, file))
  }
  // Links to where the packages would be installed.
  for (const links of ["lib", "usr/lib/modules"]) rmSync(join(place, links), { recursive: true, force: true })
  const makefile = join(headers, "Makefile")
  writeFileSync(makefile, readFileSync(makefile, "utf8").replaceAll("/usr/src/", `${place}/usr/src/`))
  writeFileSync(join(place, "done"), "")
  return headers
}

/** KDIR for a kernel that a machine boots. */
export function headersOf({ release, modulesRoot }: Kernel): string {
  const headers = modulesRoot === "/" ? `/lib/modules/${release}/build` : fetchHeaders(release)
  if (headers === null) throw new Error(`Cannot build for ${release}: Debian's archive cannot be reached`)
  return headers
}

/**
 * Builds copies of the sources, the module's and its tests', with all warnings; throws with make's output.
 * Returns the folder of the modules.
 */
export function buildAgainst(name: string, headers: string): string {
  const place = join(directory, `${name}.tree`)
  rmSync(place, { recursive: true, force: true })
  for (const part of ["kernel", "abi"]) {
    mkdirSync(join(place, part), { recursive: true })
    const sources = readdirSync(join(root, part)).filter((file) =>
      /^(Kbuild|Makefile|[a-z_]+(?<!\.mod)\.[ch])$/.test(file),
    )
    run("cp", [...sources.map((file) => join(root, part, file)), join(place, part)])
  }
  // BTF wants a vmlinux and the kernel's own pahole.
  const words = ["TESTS=m", "CC=gcc", "W=1", "KCFLAGS=-Werror", "CONFIG_DEBUG_INFO_BTF_MODULES=", "-j2"]
  run("make", ["-s", "-C", join(place, "kernel"), `KDIR=${headers}`, ...words])
  for (const module of ["tresor.ko", "tresor_test.ko"])
    if (!existsSync(join(place, "kernel", module))) throw new Error(`make made no ${module} for ${name}`)
  return join(place, "kernel")
}
