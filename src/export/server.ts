/** Serves one volume on a Unix socket to any number of NBD clients. */
import { closeSync, readFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { availableParallelism } from "node:os"
import { Budget } from "../base/budget.ts"
import { peerCredentials } from "../native/addon.ts"
import { Listener } from "../native/listener.ts"
import { MAX_PAYLOAD } from "../nbd/protocol.ts"
import type { Volume } from "../volume/volume.ts"
import { type Attention, Connection, type HeldConnection } from "./connection.ts"

export interface NbdServerOptions {
  /** Path of the Unix socket; must not exist. */
  readonly path: string
  readonly volume: Volume
  /**
   * A peer is cut off that has not chosen the export by then, or that stops for so
   * long within a request or leaves its replies lying while others wait for memory.
   * `close` takes no longer.
   */
  readonly stallMs?: number
  /** Bytes of payload in work for all connections together; at least the largest one, 32 MiB. */
  readonly memory?: number
  /** Clients at one time; those past it are turned away. Default: what the limit of open files leaves. */
  readonly most?: number
  /** Of another process, whose clients do not notice. `commit`: once it has resolved, they are ours, and are served. */
  readonly held?: HeldServer & { commit(): Promise<void> }
}

/** A server that does nothing any more, so that another process can go on with it. Descriptors are its holder's. */
export interface HeldServer {
  readonly listening: number
  readonly connections: readonly HeldConnection[]
  /** NbdServer.refused */
  readonly refused: number
}

export interface NbdServer {
  readonly connections: number
  /** Clients that were turned away: too many, or no descriptor or memory for them. */
  readonly refused: number
  /** Process IDs of the clients, as they connected. */
  clients(): number[]
  /** Resolves when nobody is connected; false: somebody still was after `ms`. */
  vacant(ms: number | null): Promise<boolean>
  /**
   * Answers what has begun and takes no more, until `release`. Clients that stay in the middle of a request, or take no
   * answers, for `stallMs` are named by their process IDs; then it serves on.
   */
  hold(): Promise<HeldServer | { readonly stalled: readonly number[] }>
  /** Serves on after `hold`, whose descriptors it takes back. */
  release(held: HeldServer): Promise<void>
  /** Stops listening, answers what has begun, closes the connections, within `stallMs`. */
  close(): Promise<void>
}

const MOST_CONNECTIONS = 4096
const BACKLOG = 4096

/** Half of the open files this process may have: the rest is for the store, the header and the control socket. */
function mostConnections(): number {
  const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))
  return Math.max(1, Math.min(MOST_CONNECTIONS, found === null ? MOST_CONNECTIONS : Number(found[1]) >> 1))
}

/** What a connection may have in work when it is alone: more would not make it faster. */
const LARGEST_SHARE = 4 << 20
/** And however many there are: enough for some small requests. */
const SMALLEST_SHARE = 64 << 10

interface Client {
  readonly ended: Promise<void>
  readonly pid: number
}

/** Node shows it on the handle only. */
const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd

/** Rejects with Node's error when the socket cannot be made. */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  const { path, volume, stallMs = 10_000, memory = MAX_PAYLOAD, most = mostConnections() } = options
  const connections = new Map<Connection, Client>()
  let refused = options.held?.refused ?? 0
  const left: (() => void)[] = []
  const total = Math.max(memory, MAX_PAYLOAD)
  // Half is for those who come: clients that take no answers cannot hold all of it by being many.
  const share = () => Math.min(LARGEST_SHARE, Math.max(SMALLEST_SHARE, total / 2 / Math.max(1, connections.size)))
  const budget = new Budget(total, {
    patienceMs: stallMs,
    spare() {
      for (const connection of connections.keys()) connection.relax()
    },
    relieve() {
      for (const connection of connections.keys()) if (connection.stuck(stallMs)) connection.cut()
    },
  })
  const attention: Attention = { possible: availableParallelism() > 1, last: null }
  const check = () => {
    for (const connection of connections.keys()) connection.check()
  }
  let checks: NodeJS.Timeout | null = null
  /** Returns what begins to serve it. */
  const connect = (fd: number, held?: HeldConnection): (() => void) => {
    const { pid } = peerCredentials(fd)
    const connection = new Connection(fd, { volume, budget, share, stallMs, attention, ...(held && { held }) })
    return () => {
      checks ??= setInterval(check, stallMs / 4).unref()
      const ended = connection.run().finally(() => {
        connections.delete(connection)
        if (connections.size > 0) return
        clearInterval(checks!)
        checks = null
        for (const tell of left.splice(0)) tell()
      })
      connections.set(connection, { ended, pid })
    }
  }
  const create = () => {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      socket.on("error", () => {})
      try {
        if (connections.size >= most) refused++
        else connect(descriptorOf(socket))()
      } catch {
        // No descriptor or no memory for another client: those there are go on.
        refused++
      } finally {
        // The connection has a descriptor of its own.
        socket.destroy()
      }
    })
    // Of accept(2), for want of descriptors or memory.
    return server.on("error", () => refused++)
  }
  const { held } = options
  const begin = (held?.connections ?? []).map((each) => connect(each.fd, each))
  await held?.commit()
  const listener = await Listener.open({ path, ...(held && { fd: held.listening }) }, BACKLOG, create)
  for (const each of held?.connections ?? []) closeSync(each.fd)
  for (const each of begin) each()
  const release = async ({ listening }: Pick<HeldServer, "listening">) => {
    for (const connection of connections.keys()) connection.release()
    await listener.resume(listening)
  }
  return {
    get connections() {
      return connections.size
    },
    get refused() {
      return refused
    },
    vacant(ms) {
      if (connections.size === 0) return Promise.resolve(true)
      return new Promise((resolve) => {
        const late = ms === null ? undefined : setTimeout(() => resolve(connections.size === 0), ms)
        left.push(() => {
          clearTimeout(late)
          resolve(true)
        })
      })
    },
    async hold() {
      const listening = listener.pause()
      const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), stallMs).unref())
      const all = Promise.all([...connections.keys()].map((connection) => connection.hold()))
      const still = await Promise.race([all, late])
      if (still !== null) return { listening, refused, connections: still.filter((each) => each !== null) }
      const stalled = [...connections].filter(([connection]) => !connection.still).map(([, { pid }]) => pid)
      await release({ listening })
      return { stalled }
    },
    release,
    clients: () => [...connections.values()].map(({ pid }) => pid),
    async close() {
      const closed = listener.close()
      for (const connection of connections.keys()) connection.close(stallMs)
      await Promise.all([...connections.values()].map(({ ended }) => ended))
      await closed
    },
  }
}
