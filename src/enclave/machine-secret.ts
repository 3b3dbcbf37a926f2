/**
 * The software backend's root secret: 32 bytes from which the emulated EGETKEY
 * derives what a CPU's fuses give on hardware. One of the machine's, which is
 * root's, and one for each user without root; made once and never replaced. It is in a
 * file, 0600, or sealed to the TPM (sealed-secret.ts).
 */
import { randomBytes } from "node:crypto"
import { mkdirSync } from "node:fs"
import { homedir } from "node:os"
import { isAbsolute, join, resolve } from "node:path"
import { TresorError } from "../base/errors.ts"
import { makeFile } from "../base/replace-file.ts"
import type { SecretName } from "../luks2/made.ts"
import { readOwn, refuseSecret } from "./own-file.ts"
import { idOf, isSealed, plainPath, readSealed, SECRET_SIZE, sealedPath, takeSealed } from "./sealed-secret.ts"
import { ROOTS, secretOwner, stateOf } from "./secret-owner.ts"

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

/** Its file there, whichever it is. */
export const secretFile = (directory: string): string =>
  isSealed(directory) ? sealedPath(directory) : plainPath(directory)

/** Wipes `secret`. */
function nameOf(secret: Buffer): string {
  try {
    return idOf(secret)
  } finally {
    secret.fill(0)
  }
}

/** Of the one in `directory`; `null`: there is none. Throws MACHINE_SECRET_REFUSED. */
function idIn(directory: string): string | null {
  const plain = readPlain(directory)
  return plain === null ? (readSealed(directory)?.id ?? null) : nameOf(plain)
}

/** The one that this process uses, which is there. Throws MACHINE_SECRET_REFUSED. */
export const secretName = (): SecretName => ({
  id: idIn(secretDir()) ?? nameOf(readMachineSecret(secretDir())),
  uid: secretOwner()?.uid ?? process.getuid!(),
})

/** A user's name, as a person knows it. */
export const userName = (uid: number): string => stateOf(uid)?.name ?? `uid ${uid}`

/** What lies in a directory: a secret by name, none that may be used, or nobody of us may look. */
function lookInto(directory: string): string | "none" | "hidden" {
  try {
    return idIn(directory) ?? "none"
  } catch (error) {
    return error instanceof TresorError && (error.cause as NodeJS.ErrnoException | undefined)?.code === "EACCES"
      ? "hidden"
      : "none"
  }
}

/** Why this process runs without the machine secret, see `takeOrExcuse`; `null`: it has it. */
let withheld: TresorError | null = null

/**
 * Why a seal of this machine does not open with the secret in use, and the way out, as clauses; `null`: it was made with
 * that one. `made` is what the token says: good for telling a person where to look.
 */
export function otherSecret({ id, uid }: SecretName): { readonly fact: string; readonly way: string | null } | null {
  const ours = secretName()
  if (ours.id === id) {
    return withheld === null ? null : { fact: withheld.message, way: "then close the volume and open it again" }
  }
  const owner = stateOf(uid)
  const whose = userName(uid)
  const here = `the one in use is ${ours.id} in ${secretFile(secretDir())}`
  const told = (where: string, way: string | null) => ({
    fact: `it was sealed with the machine secret ${id} of ${whose}${where}, and ${here}`,
    way,
  })
  if (owner === null) return told("", null)
  const seen = lookInto(owner.state)
  if (seen === id) return told(` (${secretFile(owner.state)})`, `use TRESOR_STATE_DIR=${owner.state}`)
  return seen === "hidden"
    ? told(`, which only ${whose} may read`, `open it as ${whose}, with TRESOR_STATE_DIR=${owner.state}`)
    : told(`, which is not in ${owner.state}`, null)
}

/** The file's bytes, the caller's to wipe; `null`: there is none. Throws MACHINE_SECRET_REFUSED. */
export function readPlain(directory: string): Buffer | null {
  const path = plainPath(directory)
  const bytes = readOwn(path, 65_536)
  if (bytes === null || bytes.length === SECRET_SIZE) return bytes
  bytes.fill(0)
  throw refuseSecret(path, `it has ${bytes.length} bytes, not ${SECRET_SIZE}`)
}

/**
 * The one in a file. The bytes are the caller's, to be wiped. Makes file and directory when there are none; but none of
 * another user's. Throws MACHINE_SECRET_REFUSED.
 */
export function readMachineSecret(directory: string): Buffer {
  const found = readPlain(directory)
  if (found === null && directory === secretOwner()?.state) throw refuseSecret(plainPath(directory), "it is gone")
  return found ?? make(directory)
}

/** The bytes are the caller's, to be wiped. Throws MACHINE_SECRET_REFUSED, and as takeSealed. */
export async function takeMachineSecret(directory: string): Promise<Buffer> {
  const sealed = isSealed(directory) ? readSealed(directory) : null
  return sealed === null ? readMachineSecret(directory) : takeSealed(directory, sealed)
}

/**
 * As takeMachineSecret, to open what is there: where the TPM does not give the secret, `excuse` hears why, and random bytes
 * take its place. Nothing that was sealed opens then, and recovery keys and portable passphrases do. Nothing may be sealed.
 */
export async function takeOrExcuse(directory: string, excuse: (error: TresorError) => void): Promise<Buffer> {
  try {
    const secret = await takeMachineSecret(directory)
    withheld = null
    return secret
  } catch (error) {
    if (!(error instanceof TresorError) || !isSealed(directory)) throw error
    withheld = error
    excuse(error)
    return randomBytes(SECRET_SIZE)
  }
}

/** Of two makers one wins, and both use what is there then. */
function make(directory: string): Buffer {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const bytes = randomBytes(SECRET_SIZE)
  try {
    makeFile(plainPath(directory), bytes)
  } finally {
    bytes.fill(0)
  }
  return readPlain(directory)!
}
