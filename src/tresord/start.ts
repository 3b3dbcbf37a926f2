/** Puts a session together: store, header, enclave, NBD service; undone in reverse when one of them fails. */
import { availableParallelism } from "node:os"
import { Exit, TresorError } from "../base/errors.ts"
import { type DaemonOptions, exportOf } from "../control/daemon-options.ts"
import { ioThreadsFor } from "../control/option-limits.ts"
import { listenAt, type SocketPlace } from "../control/socket-place.ts"
import { keptFor, keptPlaces } from "../enclave/kept-images.ts"
import { chooseBackend, openEnclave, openPredecessor } from "../enclave/loader.ts"
import type { Enclave } from "../enclave/types.ts"
import { type NbdServerOptions, serveNbd } from "../export/server.ts"
import { type OpenHeader, openHeader } from "../header/access.ts"
import { checkApart } from "../header/apart.ts"
import { Lease } from "../lease/lease.ts"
import { leaseProgram, newOwner } from "../lease/program.ts"
import type { Segment } from "../luks2/types.ts"
import { isNbdUri } from "../nbd/uri.ts"
import type { InUse } from "../reencrypt/in-use.ts"
import { HeldPath } from "../store/held-path.ts"
import { adoptClaim, type ExportClaim } from "../store/nbd-claim.ts"
import { openError } from "../store/open-error.ts"
import type { Permit } from "../store/store.ts"
import type { VhostServerOptions } from "../vhost/server.ts"
import { openVolumeOn } from "../volume/open.ts"
import type { Volume } from "../volume/volume.ts"
import type { Reencryption } from "./reencryption.ts"
import { Session } from "./session.ts"
import type { SessionParts } from "./session-parts.ts"
import { receiveNbd, yieldedNbd } from "./takeover/nbd.ts"
import { takeServer } from "./takeover/server.ts"
import type { Takeover } from "./takeover/successor.ts"

export interface SessionOptions extends Omit<DaemonOptions, "socket"> {
  readonly uri: string
  /** `null`: it is exported without one. */
  readonly socket: SocketPlace | null
  readonly warn: SessionParts["warn"]
  /** As this process was given them: for a successor. */
  readonly given: DaemonOptions
  /** The volume is another tresord's, which gives it to us. */
  readonly takeover?: Takeover
}

function hold(path: string, { direct }: SessionOptions): HeldPath {
  try {
    return new HeldPath(path)
  } catch (error) {
    throw openError(path, direct, error as NodeJS.ErrnoException)
  }
}

type Served = Pick<SessionParts, "stopServing" | "clients" | "served" | "resized"> &
  Partial<Pick<SessionParts, "yielded">> & {
    readonly volume: SessionParts["volume"] & Partial<InUse>
  }

/** How a store behind an NBD server is used. */
interface Reach {
  readonly permit?: Permit
  readonly patienceMs: number
}

/** Of an NBD export that another tresord gives us; those of a file are its store's. */
function adoptClaims({ path, takeover }: SessionOptions, owner: object): ExportClaim[] {
  if (takeover === undefined || !isNbdUri(path)) return []
  return takeover.claims.map((fd) => adoptClaim(fd, owner, takeover.left))
}

/** Before anything of the store is looked at: whoever had it may write until the lease is ours. */
async function takeLease(options: SessionOptions): Promise<Lease | null> {
  const { path, lease, leaseDuration, storeTimeout, warn, takeover } = options
  if (lease === null) return null
  if (!isNbdUri(path)) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot open ${path} with --lease: it is no NBD URI; a file or device that other machines write to has no lease here`,
    )
  }
  const how = { seconds: leaseDuration, graceMs: storeTimeout * 500, log: warn }
  const program = (owner: string) => leaseProgram(lease, owner, leaseDuration)
  return takeover === undefined
    ? Lease.take(program(newOwner()), path, how)
    : Lease.inherit(program(takeover.leaseOwner ?? newOwner()), path, how)
}

type Undo = (() => Promise<void>)[]

type Asked = SessionOptions & {
  readonly owner: object
  readonly at: { readonly at?: string }
  readonly reach: Reach
  readonly enclave: Enclave
  readonly openedHeader: OpenHeader
}

async function openPlain(options: Asked, segment: Segment, undo: Undo): Promise<Volume> {
  const { readonly, direct, owner, at, reach, warn } = options
  const volume = await openVolumeOn(options.path, segment, {
    readOnly: readonly,
    direct,
    // The other exports have threads of their own.
    ioThreads: exportOf(options) === "nbd" ? (options.ioThreads ?? ioThreadsFor(availableParallelism())) : 0,
    owner,
    log: warn,
    ...at,
    ...reach,
    ...(options.takeover && { claims: options.takeover.claims }),
    discards: options.allowDiscards,
    keyGraceMs: options.grace === null ? null : options.grace * 1000,
  })
  undo.push(() => volume.close())
  return volume
}

async function overNbd(options: Asked, segment: Segment, undo: Undo): Promise<Served> {
  const volume = await openPlain(options, segment, undo)
  const { takeover, enclave, openedHeader } = options
  const place = options.socket!
  const serve = async (held?: NbdServerOptions["held"]) => {
    const made = await serveNbd({ path: place.path, volume, ...(held && { held }) })
    undo.push(() => made.close())
    return made
  }
  // One that is taken over is there, and stays as it is.
  const server =
    takeover === undefined
      ? await listenAt(place, () => serve())
      : await serve(await takeServer(takeover, { enclave, volume, header: openedHeader }, receiveNbd))
  const yielded = yieldedNbd(options.name, server, volume)
  return { volume, stopServing: () => server.close(), clients: () => server, yielded }
}

/** Its threads read and write the store themselves, so that it is one they can. */
async function toMachines(options: Asked, uuid: string, segment: Segment, undo: Undo): Promise<Served> {
  const { path, warn, takeover, enclave, openedHeader } = options
  const place = options.socket!
  const volume = await openPlain(options, segment, undo)
  const disk = volume.storeDisk
  if (disk === null) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot open ${path} with --vhost-user: it is neither a file nor a block device`,
    )
  }
  const { serveVhost } = await import("../vhost/server.ts")
  const { receiveVhost, yieldedVhost } = await import("./takeover/vhost.ts")
  const serve = async (held?: VhostServerOptions["held"]) => {
    const made = await serveVhost({ path: place.path, volume, disk, uuid, warn, ...(held && { held }) })
    undo.push(() => made.close())
    return made
  }
  const server =
    takeover === undefined
      ? await listenAt(place, () => serve())
      : await serve(await takeServer(takeover, { enclave, volume, header: openedHeader }, receiveVhost))
  return {
    volume,
    stopServing: () => server.close(),
    clients: () => server,
    served: () => server.counters,
    resized: () => server.resized(),
    yielded: yieldedVhost(options.name, server, volume),
  }
}

async function asBlock(options: Asked, uuid: string, segment: Segment, undo: Undo): Promise<Served> {
  const { BlockVolume } = await import("../block/volume.ts")
  const { name, path, readonly, direct, owner, at, warn, takeover, enclave, openedHeader } = options
  const volume = await BlockVolume.open({
    name,
    path,
    uuid,
    segment,
    readOnly: readonly,
    direct,
    owner,
    ...at,
    discards: options.allowDiscards,
    keyGraceMs: options.grace === null ? null : options.grace * 1000,
    warn,
    ...(takeover && { claims: takeover.claims }),
  })
  undo.push(() => volume.close())
  const { takeBlock, yieldedBlock } = await import("./takeover/block.ts")
  if (takeover !== undefined) await takeBlock(takeover, enclave, volume, openedHeader)
  return { volume, stopServing: async () => {}, yielded: yieldedBlock(name, volume) }
}

async function asMapping(options: Asked, uuid: string, segment: Segment): Promise<Served> {
  const { KernelVolume } = await import("../mapping/volume.ts")
  const { name, path, readonly, allowDiscards: discards, warn, takeover, enclave, openedHeader } = options
  const volume = await KernelVolume.open({
    ...segment,
    name,
    path,
    uuid,
    readOnly: readonly,
    discards,
    warn,
    ...(takeover && { claims: takeover.claims }),
  })
  const { takeMapping, yieldedMapping } = await import("./takeover/mapping.ts")
  if (takeover !== undefined) await takeMapping(takeover, enclave, volume, openedHeader)
  return { volume, stopServing: async () => {}, yielded: yieldedMapping(name, volume) }
}

function serve(options: Asked, uuid: string, segment: Segment, undo: Undo): Promise<Served> {
  switch (exportOf(options)) {
    case "block":
      return asBlock(options, uuid, segment, undo)
    case "kernel":
      return asMapping(options, uuid, segment)
    case "vhost-user":
      return toMachines(options, uuid, segment, undo)
    default:
      return overNbd(options, segment, undo)
  }
}

function pendingFor(path: string): TresorError {
  return new TresorError(
    "REENCRYPT_PENDING",
    Exit.wrongDevice,
    `Cannot open ${path} with --kernel: a reencryption is pending, and the kernel's mapping has one key; ` +
      "`tresor reencrypt --resume` ends it, other exports serve the volume meanwhile",
  )
}

/** `null`: the kernel has the ciphertext. */
async function reencryptionOf(
  { name, path, warn }: SessionOptions,
  header: OpenHeader,
  { volume, served }: Served,
): Promise<Reencryption | null> {
  const { ciphertext, quiesce } = volume
  if (ciphertext === undefined || quiesce === undefined) return null
  const requests = () =>
    [volume.counters, served?.() ?? {}]
      .flatMap((counters) => Object.entries(counters) as [string, number][])
      .reduce((sum, [key, value]) => (REQUESTS.has(key) ? sum + value : sum), 0)
  const inUse = {
    ciphertext,
    readOnly: volume.readOnly,
    quiesce: (start: number, end: number) => volume.quiesce!(start, end),
  }
  const { Reencryption } = await import("./reencryption.ts")
  return new Reencryption({ name, path, header, volume: inUse, requests, warn })
}

/** Counters of what users ask for. */
const REQUESTS = new Set(["reads", "writes", "flushes", "discards"])

export async function startSession(options: SessionOptions): Promise<Session> {
  const undo: Undo = []
  try {
    const { transitionCycles } = options
    const backend = chooseBackend(options.backend)
    const { warn } = options
    const owner = {}
    // What is found now is meant by all that follows, whatever becomes of the paths.
    const held = new Map<string, HeldPath>()
    for (const place of options.takeover?.held() ?? []) {
      undo.push(async () => place.close())
      held.set(place.path, place)
    }
    for (const path of [options.header, options.path]) {
      if (path === null || isNbdUri(path) || held.has(path)) continue
      const place = hold(path, options)
      undo.push(async () => place.close())
      held.set(path, place)
    }
    const at = (path: string) => {
      const place = held.get(path)
      return place === undefined ? {} : { at: place.at }
    }
    const lease = await takeLease(options)
    // Until there is a session, nothing is written.
    if (lease !== null) undo.push(() => (options.takeover === undefined ? lease.release(true) : lease.leave()))
    const adopted = adoptClaims(options, owner)
    const reach = { patienceMs: options.storeTimeout * 1000, ...(lease !== null && { permit: lease }) }
    const headerPath = options.header ?? options.path
    const header = await openHeader(headerPath, {
      ...at(headerPath),
      readOnly: options.readonly,
      backend,
      owner,
      warn,
      ...reach,
    })
    const { segment } = header
    options.takeover?.check(header)
    checkApart(options, segment, header.size)
    // Keyslots are made by the CLI's enclaves; here, a salt is sealed again only after it was unsealed.
    let without = false
    const excuse = ({ message }: TresorError) => {
      without = true
      warn("runs without the machine secret: only recovery keys and portable passphrases open", { reason: message })
    }
    const newEnclave = () => openEnclave({ backend, transitionCycles, sealsNothing: !header.sealed, excuse })
    const enclave = await newEnclave()
    undo.push(() => enclave.close())
    // cryptsetup's persistent flag counts as if it were given.
    const asked = {
      ...options,
      owner,
      reach,
      at: at(options.path),
      allowDiscards: options.takeover?.discards ?? (options.allowDiscards || header.discards),
      enclave,
      openedHeader: header,
    }
    if (header.reencrypts && exportOf(options) === "kernel") throw pendingFor(options.path)
    const served = await serve(asked, header.uuid, segment, undo)
    // The store has it too.
    for (const claim of adopted) await claim.release()
    const reencryption = await reencryptionOf(options, header, served)
    if (header.reencrypts) await reencryption?.look()
    return new Session({
      ...options,
      socket: options.socket?.path ?? "",
      // A successor's enclave runs in the same place.
      options: { ...options.given, backend },
      export: exportOf(options),
      ...served,
      ...(options.takeover && { resumed: options.takeover.resumed }),
      lease,
      reencryption,
      held: [...held.values()],
      header,
      segment,
      enclave,
      openEnclave: newEnclave,
      kept: {
        find(sealer) {
          // An enclave without the secret must be handed nothing: it would seal it to random bytes.
          const image = without ? null : keptFor(keptPlaces(), sealer)
          return image === null ? null : { ...image, open: () => openPredecessor(image, { backend }) }
        },
      },
    })
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {})
    throw error
  }
}
