/** Other people's programs, without a shell between. */
import { spawn, spawnSync } from "node:child_process"
import { realpathSync } from "node:fs"
import { isAbsolute } from "node:path"
import { Exit, TresorError } from "./errors.ts"
import { exchangeableIn } from "./exchangeable.ts"

/** Debian package of each program used here. */
const PACKAGES: Readonly<Record<string, string>> = {
  "nbd-client": "nbd-client",
  nbdfuse: "libnbd-bin",
  losetup: "mount",
  mount: "mount",
  umount: "mount",
  blkid: "util-linux",
  fusermount3: "fuse3",
  modprobe: "kmod",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.xfs": "xfsprogs",
  "mkfs.btrfs": "btrfs-progs",
  "mkfs.vfat": "dosfstools",
  "mkfs.exfat": "exfatprogs",
}

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function missing(command: string): TresorError {
  return new TresorError(
    "TOOL_MISSING",
    Exit.badArguments,
    `Cannot run ${command}: it is not installed; install the package ${PACKAGES[command] ?? command}`,
  )
}

/** For the end of PATH: an unprivileged one often lacks /sbin. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

/** Links resolved, so that what was looked at is what is searched; `null`: not a place for root's programs. */
function trusted(directory: string): string | null {
  try {
    const real = realpathSync(directory)
    return exchangeableIn(real) === null ? real : null
  } catch {
    return null
  }
}

/**
 * Where programs are looked up. Of `given`, a PATH, relative directories are left out: an empty one, as in a PATH that is
 * empty or not set, is the current directory, which may be anybody's. For root, who may have PATH from a user by su(1),
 * so are those in which another user could put a program.
 */
export function searchPath(given = process.env["PATH"] ?? "", root = process.getuid!() === 0): string {
  const absolute = given.split(":").filter((directory) => isAbsolute(directory))
  const own = root ? absolute.map(trusted).filter((directory) => directory !== null) : absolute
  return [...own, SYSTEM_PATH].join(":")
}

/** For programs of others, which speak English then. */
export function programEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: "C", PATH: searchPath() }
}

export function has(command: string): boolean {
  const found = spawnSync(command, ["--version"], { stdio: "ignore", env: programEnvironment() })
  return (found.error as NodeJS.ErrnoException | undefined)?.code !== "ENOENT"
}

/** Runs to the end; any exit code. Throws when the program is not there. */
export async function tryRun(command: string, args: readonly string[]): Promise<Ran> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: programEnvironment() })
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", (error: NodeJS.ErrnoException) => reject(error.code === "ENOENT" ? missing(command) : error))
    child.on("close", (status) => resolve(status ?? 128))
  })
  return { code, stdout: stdout.trim(), stderr: stderr.trim() }
}

/** Runs and insists on success; `what` completes "Cannot …". */
export async function run(what: string, command: string, args: readonly string[]): Promise<string> {
  const ran = await tryRun(command, args)
  if (ran.code === 0) return ran.stdout
  // All of it: mount(8) ends with advice, and begins with the reason.
  const lines = (ran.stderr === "" ? ran.stdout : ran.stderr).split("\n").map((line) => line.trim())
  const said = lines.filter((line) => line !== "").join("; ")
  throw new TresorError(
    "TOOL_FAILED",
    Exit.wrongDevice,
    `Cannot ${what}: ${command} exited with ${ran.code}${said === "" ? "" : ` (${said})`}`,
  )
}

/** Starts a program that stays; it outlives us. */
export function start(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "ignore", detached: true, env: programEnvironment() })
    child.on("error", (error: NodeJS.ErrnoException) => reject(error.code === "ENOENT" ? missing(command) : error))
    child.on("spawn", () => {
      child.unref()
      resolve(child.pid!)
    })
  })
}
