/**
 * Where the runtime directory is, and that nobody but its owner and root can put
 * anything into it or in its place: who prepares it is asked for passphrases.
 */
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, readFileSync, realpathSync } from "node:fs"
import { basename, dirname, isAbsolute, join, resolve } from "node:path"
import { exitOfErrno } from "../base/errno.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { exchangeable } from "../base/exchangeable.ts"

/** open(2); Node does not name it. Works without read permission, and opens nothing. */
const O_PATH = 0x200000

/** Of state.json and the like; ours have some hundred bytes. */
const FILE_LIMIT = 1 << 20

/** Links resolved as far as there is something: what is checked is then what is used. */
function canonical(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(canonical(parent), basename(path))
  }
}

/** Absolute, without links. Throws RUNTIME_UNKNOWN where no directory of the user's own is known: never below /tmp. */
export function runtimeRoot(env: NodeJS.ProcessEnv = process.env, uid = process.getuid!()): string {
  const chosen = env["TRESOR_RUNTIME_DIR"]
  if (chosen !== undefined && chosen !== "") return canonical(resolve(chosen))
  if (uid === 0) return "/run/tresor"
  const session = env["XDG_RUNTIME_DIR"]
  // The XDG specification has relative ones ignored.
  if (session !== undefined && isAbsolute(session)) return canonical(join(session, "tresor"))
  // cron, su and sudo -u lose the variable; the directory may be there.
  if (existsSync(`/run/user/${uid}`)) return `/run/user/${uid}/tresor`
  throw new TresorError(
    "RUNTIME_UNKNOWN",
    Exit.badArguments,
    `Cannot choose a runtime directory: XDG_RUNTIME_DIR is not set and /run/user/${uid} does not exist; set TRESOR_RUNTIME_DIR to a directory of your own with mode 0700`,
  )
}

function refuse(root: string, fact: string): TresorError {
  return new TresorError(
    "RUNTIME_NOT_PRIVATE",
    Exit.denied,
    `Cannot use ${root} as runtime directory: ${fact}; correct that or set TRESOR_RUNTIME_DIR`,
  )
}

/** A descriptor to look things up by. Follows no link in the last component. */
function openEntry(parent: number, name: string, flags: number): number {
  return openSync(`/proc/self/fd/${parent}/${name}`, flags | constants.O_NOFOLLOW)
}

/**
 * The checked root as a descriptor, the caller's to close; `null`: there is none.
 * Every step is looked up in the directory that was checked before it. Throws
 * RUNTIME_NOT_PRIVATE. `owner`: whose root may look into another user's.
 */
export function openRoot(root: string, owner = process.getuid!()): number | null {
  let path: string
  try {
    path = realpathSync(root)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return null
    throw refuse(root, `it cannot be read (${code})`)
  }
  if (path !== root) throw refuse(root, "a part of its path is a symbolic link")
  let fd = openSync("/", O_PATH | constants.O_DIRECTORY)
  try {
    let at = "/"
    let stat = fstatSync(fd)
    for (const name of path.split("/").filter((part) => part !== "")) {
      const next = openEntry(fd, name, O_PATH | constants.O_DIRECTORY)
      closeSync(fd)
      fd = next
      const child = fstatSync(fd)
      const fault = owner === process.getuid!() ? exchangeable(stat, at, child) : null
      if (fault !== null) throw refuse(root, fault)
      at = join(at, name)
      stat = child
    }
    if (stat.uid !== owner || (stat.mode & 0o077) !== 0) {
      throw refuse(root, "it is not a directory of this user with mode 0700")
    }
    return fd
  } catch (error) {
    closeSync(fd)
    if (error instanceof TresorError) throw error
    throw refuse(root, `it changed during the check (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** Throws RUNTIME_NOT_PRIVATE; false: there is no such directory. For those who go on by path: nobody can exchange it. */
export function checkRoot(root: string): boolean {
  const fd = openRoot(root)
  if (fd === null) return false
  closeSync(fd)
  return true
}

/**
 * A file two levels below the root, read only when directory and file belong to `owner` and
 * nobody else can write them. "missing": the directory is not there. "damaged": anything else is wrong.
 */
export function readPrivate(
  root: string,
  directory: string,
  file: string,
  owner = process.getuid!(),
): { readonly text: string } | "missing" | "damaged" {
  const fd = openRoot(root, owner)
  if (fd === null) return "missing"
  let inner = -1
  let opened = -1
  try {
    try {
      inner = openEntry(fd, directory, O_PATH | constants.O_DIRECTORY)
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ENOENT" ? "missing" : "damaged"
    }
    const around = fstatSync(inner)
    if (around.uid !== owner || (around.mode & 0o077) !== 0) return "damaged"
    // A FIFO there would hold us.
    opened = openEntry(inner, file, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = fstatSync(opened)
    if (!stat.isFile() || stat.uid !== owner || (stat.mode & 0o022) !== 0 || stat.size > FILE_LIMIT) return "damaged"
    return { text: readFileSync(opened, "utf8") }
  } catch {
    return "damaged"
  } finally {
    for (const each of [opened, inner, fd]) if (each >= 0) closeSync(each)
  }
}

/** With its parents, one by one: Node's own way of that never returns where the kernel makes none, as in /proc. */
function makeDirectory(path: string): void {
  if (!existsSync(dirname(path))) makeDirectory(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
}

/** Makes the root, and refuses one that others can enter or exchange. */
export function prepareRoot(root: string): void {
  try {
    makeDirectory(root)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error"
    throw new TresorError(
      "RUNTIME_NOT_MADE",
      exitOfErrno(code, Exit.wrongDevice),
      `Cannot use ${root} as runtime directory: it cannot be made (${code}); set TRESOR_RUNTIME_DIR to one that can`,
    )
  }
  if (!checkRoot(root)) throw refuse(root, "it is not a directory")
}
