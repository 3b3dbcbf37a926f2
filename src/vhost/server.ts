/** Serves one volume on a Unix socket to virtual machines: as the back-end of a vhost-user-blk device. */
import { closeSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { availableParallelism } from "node:os"
import { peerCredentials } from "../native/addon.ts"
import { Listener } from "../native/listener.ts"
import type { VhostCounters } from "../native/vhost.ts"
import type { Disk } from "../store/disk.ts"
import type { Volume } from "../volume/volume.ts"
import { FrontEnd, filesOf, type HeldFrontEnd } from "./front-end.ts"

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
  /** Of another process, whose front-end does not notice. `commit`: once it has resolved, it is ours, and is served. */
  readonly held?: HeldVhost & { commit(): Promise<void> }
}

/** A server that does nothing any more, so that another process can go on with it. */
export interface HeldVhost {
  /** The holder's. */
  readonly listening: number
  readonly refused: number
  readonly counters: VhostCounters
  /** `null`: nobody is connected. Its descriptors are the server's, that of the one that is given it too. */
  readonly frontEnd: HeldFrontEnd | null
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
  /**
   * Answers what is under way and takes no more, until `release`. A front-end that stays in the middle of a message, or
   * whose requests do not end, for `graceMs` is named by its process ID; then it serves on.
   */
  hold(): Promise<HeldVhost | { readonly stalled: readonly number[] }>
  /** Serves on after `hold`, whose descriptor it takes back. */
  release(held: Pick<HeldVhost, "listening">): Promise<void>
  close(): Promise<void>
}

/** Front-ends that wait to be accepted: there is one at a time. */
const BACKLOG = 511

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
  let before = options.held?.counters ?? NONE
  let refused = options.held?.refused ?? 0
  let closing = false
  const left: (() => void)[] = []

  /** Returns what begins to serve it. */
  const connect = (fd: number, held?: HeldFrontEnd): (() => void) => {
    const { pid } = peerCredentials(fd)
    const frontEnd = new FrontEnd(fd, { volume, disk, id, spin, warn, ...(held && { held }) })
    return () => {
      const ended = frontEnd.run(graceMs).then(() => {
        before = sum(before, frontEnd.counters)
        current = null
        for (const tell of left.splice(0)) tell()
      })
      current = { frontEnd, pid, ended }
      if (held !== undefined) frontEnd.release()
    }
  }
  const admit = (socket: Socket) => {
    try {
      if (current !== null || closing) refused++
      else connect(descriptorOf(socket))()
    } catch (error) {
      refused++
      warn("a front-end of vhost-user cannot be served", { reason: (error as Error).message })
    } finally {
      // The front-end's channel has a descriptor of its own.
      socket.destroy()
    }
  }
  const create = () => {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      socket.on("error", () => {})
      // The machine was started again before all that it had asked for was done.
      if (current?.frontEnd.gone === true) void current.ended.then(() => admit(socket))
      else admit(socket)
    })
    // Of accept(2), for want of descriptors or memory.
    return server.on("error", () => refused++)
  }
  const { held } = options
  const frontEnd = held?.frontEnd ?? null
  const begin = frontEnd === null ? null : connect(frontEnd.socket, frontEnd)
  await held?.commit()
  const listener = await Listener.open({ path, ...(held && { fd: held.listening }) }, BACKLOG, create)
  begin?.()
  if (frontEnd !== null) for (const file of filesOf(frontEnd)) closeSync(file)
  let holding = false
  /** `null`: nobody is connected. Who waits for the end of a front-end that has left comes first. */
  const still = async (): Promise<HeldFrontEnd | null> => {
    while (current !== null && holding) {
      const { frontEnd, ended } = current
      const found = frontEnd.gone ? null : await frontEnd.hold()
      if (found !== null) return found
      await ended
    }
    return null
  }
  const counters = () => (current === null ? before : sum(before, current.frontEnd.counters))
  const clients = () => (current === null ? [] : [current.pid])
  const release = async ({ listening }: Pick<HeldVhost, "listening">) => {
    holding = false
    current?.frontEnd.release()
    await listener.resume(listening)
  }
  return {
    get connections() {
      return current === null ? 0 : 1
    },
    get refused() {
      return refused
    },
    get counters() {
      return counters()
    },
    clients,
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
    async hold() {
      const listening = listener.pause()
      holding = true
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<"late">((resolve) => (timer = setTimeout(() => resolve("late"), graceMs)))
      const frontEnd = await Promise.race([still(), late]).finally(() => clearTimeout(timer))
      if (frontEnd !== "late") return { listening, refused, counters: counters(), frontEnd }
      const stalled = clients()
      await release({ listening })
      return { stalled }
    },
    release,
    async close() {
      closing = true
      const closed = listener.close()
      current?.frontEnd.end()
      await current?.ended
      await closed
    },
  }
}
