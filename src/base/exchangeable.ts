/** Whether another user could put something else at a path: by writing to a directory on the way, or as its owner. */
import { lstatSync, type Stats } from "node:fs"

/** inode(7): S_ISVTX. */
const STICKY = 0o1000

const mine = ({ uid }: Stats) => uid === 0 || uid === process.getuid!()

/** Why somebody else could put another directory at `child`, in `parent`; `null`: nobody can. */
export function exchangeable(parent: Stats, path: string, child: Stats): string | null {
  if (!mine(parent)) return `${path} belongs to user ${parent.uid}`
  if ((parent.mode & 0o022) === 0) return null
  // As /tmp: there only the owner of an entry renames it.
  if ((parent.mode & STICKY) !== 0 && mine(child)) return null
  return `others can write to ${path}`
}

/** Why somebody else could exchange what is in a directory, whose path has no links; `null`: nobody can. Throws Node's errors. */
export function exchangeableIn(directory: string): string | null {
  let at = "/"
  let stat = lstatSync(at)
  for (const name of directory.split("/").filter((part) => part !== "")) {
    const next = at === "/" ? `/${name}` : `${at}/${name}`
    const child = lstatSync(next)
    const fault = exchangeable(stat, at, child)
    if (fault !== null) return fault
    at = next
    stat = child
  }
  // A sticky one is no help: the name is free for others when we have gone.
  if (mine(stat) && (stat.mode & 0o022) !== 0) return `others can write to ${at}`
  return mine(stat) ? null : `${at} belongs to user ${stat.uid}`
}
