/**
 * The software backend's root secret: 32 bytes from which the emulated EGETKEY
 * derives what a CPU's fuses give on hardware. One file of the machine's, which is
 * root's, and one for each user without root; 0600, made once and never replaced.
 */
import { hkdfSync, randomBytes } from "node:crypto"
import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync } from "node:fs"
import { homedir } from "node:os"
import { isAbsolute, join, resolve } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { makeFile } from "../base/replace-file.ts"
import type { SecretName } from "../luks2/made.ts"
import { ROOTS, secretOwner, stateOf } from "./secret-owner.ts"

/** Bytes. */
export const SECRET_SIZE = 32

/** $TRESOR_STATE_DIR; else /var/lib/tresor for root, $XDG_STATE_HOME/tresor for others. */
export function stateDir(): string {
  const { TRESOR_STATE_DIR, XDG_STATE_HOME } = process.env
  if (TRESOR_STATE_DIR !== undefined && TRESOR_STATE_DIR !== "") return resolve(TRESOR_STATE_DIR)
  if (process.getuid?.() === 0) return ROOTS
  return join(
    // The XDG specification has relative ones ignored.
    XDG_STATE_HOME !== undefined && isAbsolute(XDG_STATE_HOME) ? XDG_STATE_HOME : join(homedir(), ".local/state"),
    "tresor",
  )
}

/** Where the machine secret is: in stateDir, or for root with the user whose volume it is (secret-owner.ts). */
export const secretDir = (): string => secretOwner()?.state ?? stateDir()

/** Of a machine secret for `secretName`: what can be told of it without telling anything. */
const NAME_INFO = "tresor machine secret name"

/** Wipes `secret`. */
function nameOf(secret: Buffer): string {
  try {
    return Buffer.from(hkdfSync("sha256", secret, "", NAME_INFO, 8)).toString("hex")
  } finally {
    secret.fill(0)
  }
}

/** The one that this process uses, which is there. Throws MACHINE_SECRET_REFUSED. */
export const secretName = (): SecretName => ({
  id: nameOf(readMachineSecret(secretDir())),
  uid: secretOwner()?.uid ?? process.getuid!(),
})

/** A user's name, as a person knows it. */
export const userName = (uid: number): string => stateOf(uid)?.name ?? `uid ${uid}`

/** What lies in a directory: a secret by name, none that may be used, or nobody of us may look. */
function lookInto(directory: string): string | "none" | "hidden" {
  try {
    const found = readExisting(join(directory, "machine-secret"))
    return found === null ? "none" : nameOf(found)
  } catch (error) {
    return error instanceof TresorError && (error.cause as NodeJS.ErrnoException | undefined)?.code === "EACCES"
      ? "hidden"
      : "none"
  }
}

/**
 * Why a seal of this machine does not open with the secret in use, and the way out, as clauses; `null`: it was made with
 * that one. `made` is what the token says: good for telling a person where to look.
 */
export function otherSecret({ id, uid }: SecretName): { readonly fact: string; readonly way: string | null } | null {
  const ours = secretName()
  if (ours.id === id) return null
  const owner = stateOf(uid)
  const whose = userName(uid)
  const here = `the one in use is ${ours.id} in ${join(secretDir(), "machine-secret")}`
  const told = (where: string, way: string | null) => ({
    fact: `it was sealed with the machine secret ${id} of ${whose}${where}, and ${here}`,
    way,
  })
  if (owner === null) return told("", null)
  const seen = lookInto(owner.state)
  if (seen === id) return told(` (${join(owner.state, "machine-secret")})`, `use TRESOR_STATE_DIR=${owner.state}`)
  return seen === "hidden"
    ? told(`, which only ${whose} may read`, `open it as ${whose}, with TRESOR_STATE_DIR=${owner.state}`)
    : told(`, which is not in ${owner.state}`, null)
}

function refuse(path: string, fact: string, cause?: unknown): TresorError {
  return new TresorError(
    "MACHINE_SECRET_REFUSED",
    Exit.denied,
    `Cannot use the machine secret ${path}: ${fact}; sealed passphrases depend on it, the recovery key does not`,
    { cause },
  )
}

/** The bytes are the caller's, to be wiped. Makes file and directory when there are none; but none of another user's. */
export function readMachineSecret(directory: string): Buffer {
  const path = join(directory, "machine-secret")
  const found = readExisting(path)
  if (found === null && directory === secretOwner()?.state) throw refuse(path, "it is gone")
  return found ?? make(directory, path)
}

function readExisting(path: string): Buffer | null {
  let fd: number
  try {
    // A FIFO there would hold us.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return null
    throw refuse(path, code === "ELOOP" ? "it is a symbolic link" : `it cannot be read (${code})`, error)
  }
  try {
    const { mode, uid, size } = fstatSync(fd)
    if (uid !== process.getuid?.() && uid !== 0 && uid !== secretOwner()?.uid)
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
