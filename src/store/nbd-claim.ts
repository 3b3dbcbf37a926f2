/**
 * One NBD export, one writer on this machine: however its URI is spelled, and
 * wherever the runtime directory is. The claim is an abstract Unix socket, which
 * ends with its process and needs no place to lie; its peer's credentials say who
 * has it. The export is known by the server's address, not by what is behind it.
 */
import { createHash } from "node:crypto"
import { closeSync, fstatSync, readFileSync, realpathSync, statSync } from "node:fs"
import { createConnection, createServer, type Server, type Socket } from "node:net"
import { basename, dirname } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { peerCredentials } from "../native/addon.ts"
import type { NbdTarget } from "../nbd/uri.ts"

export interface ExportClaim {
  /** Keeps others off for as long as a copy of it is open; `null`: a reader keeps off nobody. */
  readonly fd: number | null
  release(): Promise<void>
}

/** A server that is started again has another socket in the same place. */
function identity({ at, exportName }: NbdTarget, address: string): string {
  if (!("path" in at)) return `tcp ${address} ${exportName}`
  const path = realpathSync(at.path)
  const { dev, ino } = statSync(dirname(path))
  return `unix ${dev} ${ino} ${basename(path)} ${exportName}`
}

/** "tresord (process 12)" of whoever listens; it may have gone meanwhile. */
function holder(name: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: Socket = createConnection(name)
    socket.once("error", () => resolve("another program"))
    socket.once("connect", () => {
      const { pid } = peerCredentials((socket as unknown as { _handle: { fd: number } })._handle.fd)
      socket.destroy()
      let what = "another program"
      try {
        what = readFileSync(`/proc/${pid}/comm`, "utf8").trim()
      } catch {}
      resolve(`${what} (process ${pid})`)
    })
  })
}

/** What this process holds. */
const held = new Map<string, { owner: object; users: number; fd: number; release: () => Promise<void> }>()

/** Node shows it on the handle only. */
const descriptorOf = (server: Server): number =>
  (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd

/** Nobody is served: who asks learns who has the claim, and no more. */
const newServer = (): Server => createServer((socket) => socket.destroy()).on("error", () => {})

/** One user more of what the same owner holds. */
function share(name: string, owner: object): ExportClaim | null {
  const claim = held.get(name)
  if (claim?.owner !== owner) return null
  claim.users++
  return {
    fd: claim.fd,
    release: async () => {
      if (--claim.users > 0) return
      held.delete(name)
      await claim.release()
    },
  }
}

export interface ClaimOptions {
  /** A reader only looks whether somebody else writes. */
  readonly write: boolean
  /** Whose claim it is. Data and header of one volume are opened apart, and have the same; two volumes never do. */
  readonly owner: object
}

/** `address`: of a server behind TCP, as it was connected to. Throws TresorError STORE_BUSY (exit 5). */
export async function claimExport(
  target: NbdTarget,
  address: string,
  { write, owner }: ClaimOptions,
): Promise<ExportClaim> {
  const name = `\0tresor-export-${createHash("sha256").update(identity(target, address)).digest("hex").slice(0, 32)}`
  const ours = share(name, owner)
  if (ours !== null) return ours
  const server = newServer()
  try {
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(name, resolve))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error
    const where = "path" in target.at ? target.at.path : `${target.at.host}:${target.at.port}`
    throw new TresorError(
      "STORE_BUSY",
      Exit.busy,
      `Cannot open the export ${JSON.stringify(target.exportName)} of ${where}: it is in use by ${await holder(name)}; close it first`,
    )
  }
  server.unref()
  const release = () => new Promise<void>((resolve) => server.close(() => resolve()))
  if (!write) {
    await release()
    return { fd: null, release: async () => {} }
  }
  held.set(name, { owner, users: 0, fd: descriptorOf(server), release })
  return share(name, owner)!
}

/** Of a listening socket with an abstract name; unix(7) has no other way to it from here than /proc/net/unix. */
function nameOf(fd: number): string {
  const { ino } = fstatSync(fd)
  for (const line of readFileSync("/proc/self/net/unix", "latin1").split("\n")) {
    const [, , , , , , inode, path] = line.split(/\s+/)
    const name = /^@(tresor-export-[0-9a-f]{32})/.exec(path ?? "")?.[1]
    if (inode === String(ino) && name !== undefined) return `\0${name}`
  }
  throw new Error("what was given as a claim of an NBD export is none")
}

/**
 * What claims a store of another process's, which gives it to us, for `owner`. Until `over` resolves, that process is
 * the one that others are told of. `fd` becomes ours.
 */
export function adoptClaim(fd: number, owner: object, over: Promise<void>): ExportClaim {
  let server: Server | null = null
  let released = false
  void over.then(() => {
    if (!released) server = newServer().listen({ fd }).unref()
  })
  const release = async () => {
    released = true
    if (server === null) closeSync(fd)
    else await new Promise<void>((resolve) => server!.close(() => resolve()))
  }
  const name = nameOf(fd)
  held.set(name, { owner, users: 0, fd, release })
  return share(name, owner)!
}
