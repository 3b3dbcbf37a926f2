/**
 * One NBD export, one writer on this machine: however its URI is spelled, and
 * wherever the runtime directory is. The claim is an abstract Unix socket, which
 * ends with its process and needs no place to lie; its peer's credentials say who
 * has it. The export is known by the server's address, not by what is behind it.
 */
import { createHash } from "node:crypto"
import { readFileSync, realpathSync, statSync } from "node:fs"
import { createConnection, createServer, type Socket } from "node:net"
import { basename, dirname } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { peerCredentials } from "../native/addon.ts"
import type { NbdTarget } from "../nbd/uri.ts"

export interface ExportClaim {
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
const held = new Map<string, { owner: object; users: number; release: () => Promise<void> }>()

/** One user more of what the same owner holds. */
function share(name: string, owner: object): ExportClaim | null {
  const claim = held.get(name)
  if (claim?.owner !== owner) return null
  claim.users++
  return {
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
  const server = createServer((socket) => socket.destroy())
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
  server.on("error", () => {})
  server.unref()
  const release = () => new Promise<void>((resolve) => server.close(() => resolve()))
  if (!write) {
    await release()
    return { release: async () => {} }
  }
  held.set(name, { owner, users: 0, release })
  return share(name, owner)!
}
