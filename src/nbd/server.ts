/** Serves one volume on a Unix socket to any number of NBD clients. */
import { createServer, type Server, type Socket } from "node:net"
import { availableParallelism } from "node:os"
import { Budget } from "../volume/budget.ts"
import type { Volume } from "../volume/volume.ts"
import { type Attention, Connection } from "./connection.ts"
import { MAX_PAYLOAD } from "./protocol.ts"

export interface NbdServerOptions {
  /** Path of the Unix socket; must not exist. */
  readonly path: string
  readonly volume: Volume
  /**
   * A peer is cut off that has not chosen the export by then, stops for so long
   * within a request, or leaves its replies lying while others wait for memory.
   */
  readonly stallMs?: number
  /** Bytes of payload in work for all connections together; at least the largest one, 32 MiB. */
  readonly memory?: number
}

export interface NbdServer {
  readonly connections: number
  /** Stops listening, answers what has been asked, closes the connections. */
  close(): Promise<void>
}

/** What a connection may have in work when it is alone: more would not make it faster. */
const LARGEST_SHARE = 4 << 20
/** And however many there are: enough for some small requests. */
const SMALLEST_SHARE = 64 << 10

/** Node shows it on the handle only. */
const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd

/** Rejects with Node's error when the socket cannot be made. */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  const { path, volume, stallMs = 10_000, memory = MAX_PAYLOAD } = options
  const connections = new Map<Connection, Promise<void>>()
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
  const server: Server = createServer({ pauseOnConnect: true }, (socket) => {
    const connection = new Connection(descriptorOf(socket), { volume, budget, share, stallMs, attention })
    // The connection has a descriptor of its own.
    socket.destroy()
    checks ??= setInterval(check, stallMs / 4).unref()
    const ended = connection.run().finally(() => {
      connections.delete(connection)
      if (connections.size > 0) return
      clearInterval(checks!)
      checks = null
    })
    connections.set(connection, ended)
  })
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen({ path, backlog: 4096 }, resolve))
  return {
    get connections() {
      return connections.size
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const connection of connections.keys()) void connection.drain()
      await Promise.all(connections.values())
      await closed
    },
  }
}
