/**
 * sudo: the machine secret of the user whose volume root works on. `tresor create` as a user seals with
 * that user's secret, and `sudo tresor mount` of the same file must open it.
 */
import { spawnSync } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { join } from "node:path"

export interface Caller {
  readonly uid: number
  readonly name: string
  /** The directory of that user's machine secret. */
  readonly state: string
}

let adopted: Caller | null = null

/** The one found by `adoptCaller`. */
export const sudoCaller = (): Caller | null => adopted

/**
 * From here on this process uses the machine secret of the user who called sudo, when root works on a file
 * of that user's and there is such a secret. TRESOR_STATE_DIR stands above it. `null`: root's own is used.
 */
export function adoptCaller(path: string): Caller | null {
  const { SUDO_UID = "", TRESOR_STATE_DIR = "" } = process.env
  if (process.getuid!() !== 0 || TRESOR_STATE_DIR !== "" || !/^[1-9]\d{0,9}$/.test(SUDO_UID)) return null
  const uid = Number(SUDO_UID)
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat?.isFile() !== true || stat.uid !== uid) return null
  const user = stateOf(uid)
  if (user === null || !existsSync(join(user.state, "machine-secret"))) return null
  adopted = user
  return adopted
}

/** A user and that user's state directory, which may not exist; `null`: no such user, or one without a home. */
export function stateOf(uid: number): Caller | null {
  // name:x:uid:gid:gecos:home:shell, from wherever the system keeps its users.
  const { stdout } = spawnSync("getent", ["passwd", String(uid)], { encoding: "utf8" })
  const [name, , , , , home] = (stdout ?? "").split(":")
  if (name === undefined || home === undefined || !home.startsWith("/")) return null
  return { uid, name, state: join(home, ".local/state/tresor") }
}
