/** Replacing a file, and making one that must not be replaced. Every rewritten file of ours goes through here. */
import { randomBytes } from "node:crypto"
import { closeSync, constants, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"

/**
 * Content under a name beside `path` that cannot be guessed and must not exist: nobody can have put a
 * link or a file of theirs there. On stable storage when `place` is called; the name is gone afterwards.
 */
function placed(path: string, content: string | Uint8Array, mode: number, place: (from: string) => void): void {
  const temporary = join(dirname(path), `.${basename(path).slice(0, 200)}.${randomBytes(8).toString("hex")}`)
  const fd = openSync(temporary, "wx", mode)
  try {
    try {
      writeFileSync(fd, content)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    place(temporary)
  } finally {
    rmSync(temporary, { force: true })
  }
  syncDirectory(path)
}

/** Whole or not at all, and on stable storage when it returns. Throws the system's errors. */
export function replaceFile(path: string, content: string | Uint8Array, mode = 0o600): void {
  placed(path, content, mode, (temporary) => renameSync(temporary, path))
}

/**
 * As `replaceFile` for a file that is not there. False when it is: who reads it never sees a part, and of two makers
 * one wins. For file systems with hard links.
 */
export function makeFile(path: string, content: string | Uint8Array, mode = 0o600): boolean {
  let made = true
  placed(path, content, mode, (temporary) => {
    try {
      linkSync(temporary, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      made = false
    }
  })
  return made
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
