/** Files of a state directory that only their owner may have written. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs"
import { Exit, TresorError } from "../base/errors.ts"
import { secretOwner } from "./secret-owner.ts"

export function refuseSecret(path: string, fact: string, cause?: unknown): TresorError {
  return new TresorError(
    "MACHINE_SECRET_REFUSED",
    Exit.denied,
    `Cannot use the machine secret ${path}: ${fact}; sealed passphrases depend on it, the recovery key does not`,
    { cause },
  )
}

/** All of it, the caller's to wipe; `null`: there is none. Throws MACHINE_SECRET_REFUSED (exit 2), also above `most` bytes. */
export function readOwn(path: string, most: number): Buffer | null {
  let fd: number
  try {
    // A FIFO there would hold us.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return null
    throw refuseSecret(path, code === "ELOOP" ? "it is a symbolic link" : `it cannot be read (${code})`, error)
  }
  try {
    const { mode, uid, size } = fstatSync(fd)
    if (uid !== process.getuid?.() && uid !== 0 && uid !== secretOwner()?.uid)
      throw refuseSecret(path, "it belongs to another user")
    if ((mode & 0o077) !== 0) throw refuseSecret(path, `its mode is 0${(mode & 0o777).toString(8)}, not 0600`)
    // A buffer of its own, never a slice of Node's pool.
    const bytes = Buffer.alloc(size > most ? 0 : size)
    if (size > most || readSync(fd, bytes, 0, size, 0) !== size) throw refuseSecret(path, `it has ${size} bytes`)
    return bytes
  } finally {
    closeSync(fd)
  }
}
