/**
 * A socket at a path that somebody chose, for clients of another user (qemu of libvirt): nobody else may be able to put
 * another socket in its place, since clients send plaintext there.
 */
import { chmodSync, chownSync, lstatSync, realpathSync, rmSync, statSync } from "node:fs"
import { connect } from "node:net"
import { basename, dirname, join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { exchangeableIn } from "../base/exchangeable.ts"
import { tryRun } from "../base/programs.ts"
import { SOCKET_PATH_LIMIT } from "./runtime.ts"

/** As it is asked for. */
export interface AskedPlace {
  /** Absolute. */
  readonly path: string
  /** Name or number; `null`: as the system makes it. */
  readonly group: string | null
  /** Permissions. */
  readonly mode: number
}

export interface SocketPlace {
  /** Absolute, without links. */
  readonly path: string
  readonly gid: number | null
  readonly mode: number
}

function unfit(path: string, fact: string): TresorError {
  return new TresorError("SOCKET_UNFIT", Exit.denied, `Cannot serve on ${path}: ${fact}`)
}

async function groupId(name: string): Promise<number> {
  // name:x:gid:members, from wherever the system keeps its groups.
  const id = /^\d{1,9}$/.test(name) ? name : (await tryRun("getent", ["group", name])).stdout.split(":")[2]
  if (id !== undefined && /^\d{1,10}$/.test(id)) return Number(id)
  throw new TresorError(
    "SOCKET_GROUP",
    Exit.badArguments,
    `Cannot use ${name} as --socket-group: no such group; \`getent group\` lists them`,
  )
}

/** Whether somebody listens there. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNREFUSED" || error.code === "ENOENT"
        ? resolve(false)
        : reject(unfit(path, `it cannot be examined (${error.code})`)),
    )
  })
}

/** Removes a socket that a tresord left which was killed. Throws SOCKET_IN_USE (exit 5), SOCKET_UNFIT (exit 2). */
async function clear(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw unfit(path, "it exists and is not a socket; choose another path")
  if (found.uid !== process.getuid!()) throw unfit(path, `it belongs to user ${found.uid}; choose another path`)
  if (await answers(path)) {
    throw new TresorError(
      "SOCKET_IN_USE",
      Exit.busy,
      `Cannot serve on ${path}: another process serves there; close it or choose another path`,
    )
  }
  rmSync(path, { force: true })
}

/** Makes sure that a socket can be made at a path, or is in a fit one, if it is taken over from another tresord. Throws SOCKET_UNFIT (exit 2), SOCKET_IN_USE (exit 5), SOCKET_GROUP (exit 1). */
export async function preparePlace({ path, group, mode }: AskedPlace, taken = false): Promise<SocketPlace> {
  const parent = dirname(path)
  if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw unfit(path, `${parent} is not a directory; make it first, with mode 0711`)
  }
  const place = join(realpathSync(parent), basename(path))
  if (Buffer.byteLength(place) > SOCKET_PATH_LIMIT) {
    throw unfit(path, `the path is ${Buffer.byteLength(place)} bytes long; the limit is ${SOCKET_PATH_LIMIT}`)
  }
  const fault = exchangeableIn(dirname(place))
  if (fault !== null) throw unfit(path, `${fault}, who could put another socket there; choose another directory`)
  const gid = group === null ? null : await groupId(group)
  if (!taken) await clear(place)
  return { path: place, gid, mode }
}

/** Runs `listen`, which makes the socket there, and lets others in once it is theirs. Throws SOCKET_GROUP (exit 2). */
export async function listenAt<T>({ path, gid, mode }: SocketPlace, listen: () => Promise<T>): Promise<T> {
  const server = await listen()
  try {
    // In a directory with S_ISGID it has the group already.
    if (gid !== null && lstatSync(path).gid !== gid) chownSync(path, process.getuid!(), gid)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new TresorError(
      "SOCKET_GROUP",
      Exit.denied,
      `Cannot give ${path} to group ${gid}: ${code}; use a directory of that group with mode 2711, or run as root`,
    )
  }
  chmodSync(path, mode)
  return server
}
