/**
 * A Unix socket that is listened on and can go to another process: libuv removes the path that it has bound when the
 * server closes, so it binds another name, and the path is a link that only `close` removes.
 */
import { linkSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { duplicate } from "./addon.ts"

/** Where: a path that does not exist, whose socket will have mode 0600, or one that a descriptor already listens on. */
export interface ListenAt {
  readonly path: string
  /** The listener's from now on. */
  readonly fd?: number
}

export class Listener {
  readonly #path: string
  readonly #backlog: number
  readonly #create: () => Server
  #server: Server
  #paused = false

  private constructor(path: string, backlog: number, create: () => Server) {
    this.#path = path
    this.#backlog = backlog
    this.#create = create
    this.#server = create()
  }

  /** `create` makes the server that accepts, again after each `pause`. Rejects with Node's errors. */
  static async open({ path, fd }: ListenAt, backlog: number, create: () => Server): Promise<Listener> {
    const listener = new Listener(path, backlog, create)
    if (fd !== undefined) {
      await listener.#listen({ fd })
      return listener
    }
    // As long, for sun_path, and another.
    const bound = `${path.slice(0, -1)}${path.endsWith("~") ? "-" : "~"}`
    // Left by a process that was killed just then.
    rmSync(bound, { force: true })
    await listener.#listen({ path: bound })
    try {
      linkSync(bound, path)
    } catch (error) {
      listener.#server.close()
      throw error
    }
    rmSync(bound)
    return listener
  }

  #listen(at: { readonly path: string } | { readonly fd: number }): Promise<void> {
    const server = this.#server
    return new Promise((resolve, reject) => {
      server.once("error", reject)
      // Node binds within this call: nobody else's file has this umask, and of two listeners none keeps the other's.
      const before = process.umask(0o177)
      try {
        server.listen({ ...at, backlog: this.#backlog }, () => {
          server.off("error", reject)
          // Of accept(2), for want of descriptors or memory: the peer is lost, those there are not.
          server.on("error", () => {})
          resolve()
        })
      } finally {
        process.umask(before)
      }
    })
  }

  /** Accepts nobody until `resume`: who connects waits in the socket's queue. The socket, the caller's. */
  pause(): number {
    // Node shows it on the handle only.
    const { _handle } = this.#server as unknown as { readonly _handle: { readonly fd: number } }
    const fd = duplicate(_handle.fd)
    this.#server.close()
    this.#paused = true
    return fd
  }

  /** With the descriptor that `pause` returned. */
  async resume(fd: number): Promise<void> {
    this.#server = this.#create()
    await this.#listen({ fd })
    this.#paused = false
  }

  /** Resolves when the last connection has ended. A path that is paused is left alone: another process may have it. */
  close(): Promise<void> {
    if (this.#paused) return Promise.resolve()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    rmSync(this.#path, { force: true })
    return closed
  }
}

/**
 * Makes this process the one that those see who connect from now on: the kernel names whoever called listen(2) last.
 * Nobody is accepted. `fd` stays the caller's.
 */
export function listenHere(fd: number): void {
  const server = createServer()
  server.on("error", () => {})
  server.listen({ fd: duplicate(fd) })
  server.close()
}
