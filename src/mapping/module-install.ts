/** Building, installing, loading and unloading tresor.ko. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { release as runningKernel } from "node:os"
import { dirname, join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { installationRoot } from "../base/installation.ts"
import { has, run, tryRun } from "../base/programs.ts"
import { VERSION } from "../base/version.ts"
import { readModule } from "./module.ts"

export interface KernelRelease {
  /** A kernel's release; the running one when absent. */
  readonly release?: string
}

export interface ModuleParameters {
  readonly grace?: number
  readonly hang?: number
  readonly daemon?: string
}

/** What udev does about /dev/tresor/control. */
const RULE = "/etc/udev/rules.d/70-tresor.rules"

/** Sources of the module, as DKMS keeps them. */
const SOURCES = `/usr/src/tresor-${VERSION}`

/** The module's, of a checkout or of npm's package. The Debian package has none: tresor-dkms brings them. */
function sources(): string | null {
  const folder = join(installationRoot, "kernel")
  return existsSync(join(folder, "Makefile")) ? folder : null
}

function needSources(what: string): string {
  const folder = sources()
  if (folder !== null) return folder
  throw new TresorError(
    "MODULE_MISSING",
    Exit.wrongDevice,
    `Cannot ${what}: this installation has no sources of the module; install the package tresor-dkms`,
  )
}

function asRoot(what: string): void {
  if (process.getuid?.() === 0) return
  throw new TresorError("NOT_ROOT", Exit.denied, `Cannot ${what}: root privileges are required; run it as root`)
}

/** The directory of a kernel's headers; throws HEADERS_MISSING. */
function headers(release: string): string {
  const directory = `/lib/modules/${release}/build`
  if (existsSync(join(directory, "Makefile"))) return directory
  throw new TresorError(
    "HEADERS_MISSING",
    Exit.wrongDevice,
    `Cannot build tresor.ko: the headers of kernel ${release} are missing; install them (Debian: apt install linux-headers-${release})`,
  )
}

/** Returns the path of the module. */
export async function build({ release = runningKernel() }: KernelRelease): Promise<string> {
  const directory = needSources("build tresor.ko")
  await run("build tresor.ko", "make", ["-s", "-C", directory, `KDIR=${headers(release)}`])
  return join(directory, "tresor.ko")
}

/** Returns the path of the module. */
export async function install({ release = runningKernel() }: KernelRelease): Promise<string> {
  asRoot("install tresor.ko")
  const directory = needSources("install tresor.ko")
  headers(release)
  const withDkms = has("dkms")
  if (withDkms) {
    await tryRun("dkms", ["remove", "-m", "tresor", "-v", VERSION, "--all"])
    rmSync(SOURCES, { recursive: true, force: true })
    mkdirSync(SOURCES)
    cpSync(join(directory, "dkms.conf"), join(SOURCES, "dkms.conf"))
    cpSync(join(directory, "..", "abi", "kmod.h"), join(SOURCES, "abi", "kmod.h"))
    cpSync(directory, join(SOURCES, "kernel"), {
      recursive: true,
      filter: (path) => path === directory || /\/(Kbuild|Makefile|[a-z_]+(?<!\.mod)\.[ch])$/.test(path),
    })
    await run("install tresor.ko", "dkms", ["install", "-m", "tresor", "-v", VERSION, "-k", release])
  } else {
    const built = await build({ release })
    const updates = `/lib/modules/${release}/updates`
    mkdirSync(updates, { recursive: true })
    cpSync(built, join(updates, "tresor.ko"))
    await run("install tresor.ko", "depmod", [release])
  }
  mkdirSync(dirname(RULE), { recursive: true })
  cpSync(join(directory, "70-tresor.rules"), RULE)
  return `installed for ${release}${withDkms ? ", and by DKMS for every later kernel" : "; without DKMS, install it again for a new kernel"}`
}

export async function load({ grace, hang, daemon }: ModuleParameters): Promise<void> {
  asRoot("load tresor.ko")
  if (readModule() !== null) {
    throw new TresorError(
      "MODULE_LOADED",
      Exit.busy,
      "Cannot load tresor.ko: it is loaded; `tresor kernel unload` first",
    )
  }
  const parameters = [
    ...(grace === undefined ? [] : [`grace_seconds=${grace}`]),
    ...(hang === undefined ? [] : [`hang_seconds=${hang}`]),
    // The kernel takes a quoted value with blanks whole.
    ...(daemon === undefined ? [] : [`daemon="${daemon}"`]),
  ]
  const known = await tryRun("modinfo", ["-n", "tresor"])
  const folder = sources()
  const built = folder === null ? null : join(folder, "tresor.ko")
  if (known.code !== 0 && (built === null || !existsSync(built))) {
    throw new TresorError(
      "MODULE_MISSING",
      Exit.wrongDevice,
      "Cannot load tresor.ko: it is neither installed nor built; the package tresor-dkms or, in a checkout, `tresor kernel install` does both",
    )
  }
  const loaded =
    known.code !== 0 && built !== null
      ? await tryRun("insmod", [built, ...parameters])
      : await tryRun("modprobe", ["tresor", ...parameters])
  if (loaded.code === 0) return
  throw new TresorError("MODULE_REFUSED", Exit.wrongDevice, `Cannot load tresor.ko: ${whyRefused(loaded.stderr)}`)
}

function whyRefused(said: string): string {
  if (/Key was rejected/.test(said)) {
    return "Secure Boot wants it signed; `tresor kernel install` with DKMS signs it, mokutil --import enrols DKMS's key"
  }
  if (/Invalid module format/.test(said))
    return "it was built for another kernel; build it again with `tresor kernel build`"
  return `${said.split("\n").at(-1) ?? ""}; the kernel's log may say more (dmesg)`
}

export async function unload(): Promise<void> {
  asRoot("unload tresor.ko")
  const module = readModule()
  if (module === null) {
    throw new TresorError("MODULE_NOT_LOADED", Exit.wrongDevice, "Cannot unload tresor.ko: it is not loaded")
  }
  const done = await tryRun("rmmod", ["tresor"])
  if (done.code === 0) return
  const users = Number(readFileSync("/sys/module/tresor/refcnt", "utf8"))
  if (users === 0) throw new TresorError("MODULE_REFUSED", Exit.wrongDevice, `Cannot unload tresor.ko: ${done.stderr}`)
  const pids = module.daemons.map(({ pid }) => pid)
  throw new TresorError(
    "MODULE_IN_USE",
    Exit.busy,
    `Cannot unload tresor.ko: ${users} users are left, ${pids.length > 0 ? `tresord ${pids.join(", ")} among them` : "mappings"}; \`tresor close\` or \`dmsetup remove\` them first`,
  )
}
