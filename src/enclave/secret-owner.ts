/**
 * Whose machine secret root uses: of a file it is its owner's. `tresor create` as a user seals with that user's secret,
 * and `sudo tresor mount`, a unit of systemd and a shell of root must open the same file (docs/decisions/0070).
 */
import { spawnSync } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { join } from "node:path"
import { programEnvironment } from "../base/programs.ts"

export interface SecretOwner {
  readonly uid: number
  readonly name: string
  /** The directory of that user's machine secret. */
  readonly state: string
}

let adopted: SecretOwner | null = null

/** The one found by `adoptOwner`. */
export const secretOwner = (): SecretOwner | null => adopted

/**
 * From here on this process of root's uses the machine secret of the user whose file this is, if there is one.
 * TRESOR_STATE_DIR stands above it. `null`: root's own is used.
 */
export function adoptOwner(path: string): SecretOwner | null {
  adopted = ownerOf(path)
  return adopted
}

function ownerOf(path: string): SecretOwner | null {
  if (process.getuid!() !== 0 || (process.env["TRESOR_STATE_DIR"] ?? "") !== "") return null
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat?.isFile() !== true || stat.uid === 0) return null
  const user = stateOf(stat.uid)
  return user === null || !Object.values(SECRET_FILES).some((name) => existsSync(join(user.state, name))) ? null : user
}

/** Names of a machine secret: in a file, or sealed to the TPM. */
export const SECRET_FILES = { plain: "machine-secret", sealed: "machine-secret.tpm2" } as const

/** A user and that user's state directory, which may not exist; `null`: no such user, or one without a home. */
export function stateOf(uid: number): SecretOwner | null {
  // name:x:uid:gid:gecos:home:shell, from wherever the system keeps its users.
  const { stdout } = spawnSync("getent", ["passwd", String(uid)], { encoding: "utf8", env: programEnvironment() })
  const [name, , , , , home] = (stdout ?? "").split(":")
  if (name === undefined || home === undefined || !home.startsWith("/")) return null
  return { uid, name, state: uid === 0 ? ROOTS : join(home, ".local/state/tresor") }
}

/** State directory of root, and so of the machine. */
export const ROOTS = "/var/lib/tresor"
