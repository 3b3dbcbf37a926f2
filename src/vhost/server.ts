/** Serves one volume on a Unix socket to virtual machines: as the back-end of a vhost-user-blk device. */
import { createServer, type Server, type Socket } from "node:net"
import { availableParallelism } from "node:os"
import { peerCredentials } from "../native/addon.ts"
import type { VhostCounters } from "../native/vhost.ts"
import type { Disk } from "../store/disk.ts"
import type { Volume } from "../volume/volume.ts"
import { FrontEnd } from "./front-end.ts"

export interface VhostServerOptions {
  /** Path of the Unix socket; must not exist. */
  readonly path: string
  readonly volume: Volume
  /** Of the volume's store. */
  readonly disk: Disk
  /** Of the volume: what guests see as the disk's serial number comes from it. */
  readonly uuid: string
  readonly warn: (message: string, facts: Record<string, unknown>) => void
  /** How long a front-end's requests are waited for when it has left, or at a close. */
  readonly graceMs?: number
}

/** As NbdServer: whoever closes the volume asks both the same. */
export interface VhostServer {
  readonly connections: number
  /** Front-ends that were turned away: there is one at a time. */
  readonly refused: number
  readonly counters: VhostCounters
  clients(): number[]
  vacant(ms: number | null): Promise<boolean>
  /** The volume has another size. */
  resized(): void
  close(): Promise<void>
}

/** Microseconds: what a wake-up costs, twice. */
const SPIN = 40
/** Of a serial number of virtio-blk, bytes. */
const ID_SIZE = 20

const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd

function sum(a: VhostCounters, b: VhostCounters): VhostCounters {
  return Object.fromEntries(
    Object.entries(a).map(([name, value]) => [name, value + b[name as keyof VhostCounters]]),
  ) as unknown as VhostCounters
}

const NONE: VhostCounters = {
  reads: 0,
  writes: 0,
  flushes: 0,
  discards: 0,
  bytesRead: 0,
  bytesWritten: 0,
  errors: 0,
  pending: 0,
}

/** Rejects with Node's error when the socket cannot be made. */
export async function serveVhost(options: VhostServerOptions): Promise<VhostServer> {
  const { path, volume, disk, uuid, warn, graceMs = 10_000 } = options
  const id = Buffer.alloc(ID_SIZE)
  id.write(uuid.replaceAll("-", ""), "latin1")
  const spin = availableParallelism() > 1 ? SPIN : 0
  let current: { readonly frontEnd: FrontEnd; readonly pid: number; readonly ended: Promise<void> } | null = null
  let before = NONE
  let refused = 0
  let closing = false
  const left: (() => void)[] = []

  const serve = (socket: Socket) => {
    const fd = descriptorOf(socket)
    const { pid } = peerCredentials(fd)
    const frontEnd = new FrontEnd(fd, { volume, disk, id, spin, warn })
    const ended = frontEnd.run(graceMs).then(() => {
      before = sum(before, frontEnd.counters)
      current = null
      for (const tell of left.splice(0)) tell()
    })
    current = { frontEnd, pid, ended }
  }
  const admit = (socket: Socket) => {
    try {
      if (current !== null || closing) refused++
      else serve(socket)
    } catch (error) {
      refused++
      warn("a front-end of vhost-user cannot be served", { reason: (error as Error).message })
    } finally {
      // The front-end's channel has a descriptor of its own.
      socket.destroy()
    }
  }
  const server: Server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => {})
    // The machine was started again before all that it had asked for was done.
    if (current?.frontEnd.gone === true) void current.ended.then(() => admit(socket))
    else admit(socket)
  })
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen({ path }, resolve))
  server.on("error", () => refused++)
  return {
    get connections() {
      return current === null ? 0 : 1
    },
    get refused() {
      return refused
    },
    get counters() {
      return current === null ? before : sum(before, current.frontEnd.counters)
    },
    clients: () => (current === null ? [] : [current.pid]),
    vacant(ms) {
      if (current === null) return Promise.resolve(true)
      return new Promise((resolve) => {
        const late = ms === null ? undefined : setTimeout(() => resolve(current === null), ms)
        left.push(() => {
          clearTimeout(late)
          resolve(true)
        })
      })
    },
    resized: () => current?.frontEnd.resized(),
    async close() {
      closing = true
      const closed = new Promise((resolve) => server.close(resolve))
      current?.frontEnd.end()
      await current?.ended
      await closed
    },
  }
}
