/** Replacing a file. Every rewritten file of ours goes through here. */
import { randomBytes } from "node:crypto"
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"

/**
 * Whole or not at all, and on stable storage when it returns. What it is called in between cannot be
 * guessed and must not exist: nobody can have put a link or a file of theirs there. Throws the system's errors.
 */
export function replaceFile(path: string, content: string | Uint8Array, mode = 0o600): void {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path).slice(0, 200)}.${randomBytes(8).toString("hex")}`)
  const fd = openSync(temporary, "wx", mode)
  try {
    try {
      writeFileSync(fd, content)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  syncDirectory(path)
}

/** Puts the entry of `path` in its directory on stable storage. Throws the system's errors. */
export function syncDirectory(path: string): void {
  const directory = openSync(dirname(resolve(path)), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
