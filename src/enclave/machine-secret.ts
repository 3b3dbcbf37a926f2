/**
 * The software backend's root secret: 32 bytes from which the emulated EGETKEY
 * derives what a CPU's fuses give on hardware. One file per machine (root) or
 * user, 0600, made once and never replaced.
 */
import { randomBytes } from "node:crypto"
import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync } from "node:fs"
import { homedir } from "node:os"
import { isAbsolute, join, resolve } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { makeFile } from "../base/replace-file.ts"
import { sudoCaller } from "./sudo-caller.ts"

/** Bytes. */
export const SECRET_SIZE = 32

/** $TRESOR_STATE_DIR; else /var/lib/tresor for root, $XDG_STATE_HOME/tresor for others. */
export function stateDir(): string {
  const { TRESOR_STATE_DIR, XDG_STATE_HOME } = process.env
  if (TRESOR_STATE_DIR !== undefined && TRESOR_STATE_DIR !== "") return resolve(TRESOR_STATE_DIR)
  if (process.getuid?.() === 0) return "/var/lib/tresor"
  return join(
    // The XDG specification has relative ones ignored.
    XDG_STATE_HOME !== undefined && isAbsolute(XDG_STATE_HOME) ? XDG_STATE_HOME : join(homedir(), ".local/state"),
    "tresor",
  )
}

/** Where the machine secret is: in stateDir, or under sudo with the user whose volume it is (sudo-caller.ts). */
export const secretDir = (): string => sudoCaller()?.state ?? stateDir()

function refuse(path: string, fact: string): TresorError {
  return new TresorError(
    "MACHINE_SECRET_REFUSED",
    Exit.denied,
    `Cannot use the machine secret ${path}: ${fact}; sealed passphrases depend on it, the recovery key does not`,
  )
}

/** The bytes are the caller's, to be wiped. Makes file and directory when there are none. */
export function readMachineSecret(directory: string): Buffer {
  const path = join(directory, "machine-secret")
  return readExisting(path) ?? make(directory, path)
}

function readExisting(path: string): Buffer | null {
  let fd: number
  try {
    // A FIFO there would hold us.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return null
    throw refuse(path, code === "ELOOP" ? "it is a symbolic link" : `it cannot be read (${code})`)
  }
  try {
    const { mode, uid, size } = fstatSync(fd)
    if (uid !== process.getuid?.() && uid !== 0 && uid !== sudoCaller()?.uid)
      throw refuse(path, "it belongs to another user")
    if ((mode & 0o077) !== 0) throw refuse(path, `its mode is 0${(mode & 0o777).toString(8)}, not 0600`)
    const bytes = Buffer.alloc(SECRET_SIZE)
    if (size !== SECRET_SIZE || readSync(fd, bytes) !== SECRET_SIZE)
      throw refuse(path, `it has ${size} bytes, not ${SECRET_SIZE}`)
    return bytes
  } finally {
    closeSync(fd)
  }
}

/** Of two makers one wins, and both use what is there then. */
function make(directory: string, path: string): Buffer {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const bytes = randomBytes(SECRET_SIZE)
  try {
    makeFile(path, bytes)
  } finally {
    bytes.fill(0)
  }
  return readExisting(path)!
}
