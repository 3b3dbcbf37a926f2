/** Lists of ours in the user's configuration: changed whole or not at all, by one process at a time. */
import { closeSync, constants, mkdirSync, openSync, readFileSync } from "node:fs"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { replaceFile } from "../base/replace-file.ts"
import { flock } from "../native/addon.ts"

/** $XDG_CONFIG_HOME/tresor, else ~/.config/tresor. */
export function configDir(): string {
  const { XDG_CONFIG_HOME } = process.env
  const base =
    XDG_CONFIG_HOME !== undefined && isAbsolute(XDG_CONFIG_HOME) ? XDG_CONFIG_HOME : join(homedir(), ".config")
  return join(base, "tresor")
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return ""
    throw error
  }
}

/** Empty when there is none. Throws TresorError LIST_UNREADABLE: an existing list must not be ignored. */
export function readList(path: string): string {
  try {
    return read(path)
  } catch (cause) {
    const { message } = cause as Error
    throw new TresorError("LIST_UNREADABLE", Exit.denied, `Cannot read ${path}: ${message}`, { cause })
  }
}

/** What `change` makes of the list takes its place; no other process's line is lost. Throws the system's errors. */
export function changeList(path: string, change: (text: string) => string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const lock = openSync(`${path}.lock`, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    flock(lock, "exclusive")
    const text = read(path)
    const changed = change(text)
    if (changed !== text) replaceFile(path, changed)
  } finally {
    closeSync(lock)
  }
}

/** Whether the system refused, as it does for a home that cannot be written to. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined
}
