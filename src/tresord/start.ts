/** Puts a session together: store, header, enclave, NBD service; undone in reverse when one of them fails. */
import { chmodSync } from "node:fs"
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { chooseBackend, openEnclave } from "../enclave/loader.ts"
import { serveNbd } from "../export/server.ts"
import { openHeader } from "../header/access.ts"
import type { Segment } from "../luks2/types.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { overlap } from "../store/extent.ts"
import { HeldPath } from "../store/held-path.ts"
import { openStore } from "../store/open.ts"
import { openError } from "../store/open-error.ts"
import { Volume } from "../volume/volume.ts"
import { Session, type SessionParts } from "./session.ts"

export interface SessionOptions {
  readonly path: string
  readonly name: string
  readonly uri: string
  readonly socket: string
  readonly backend: Backend | "auto"
  readonly readonly: boolean
  readonly discards: boolean
  readonly direct: boolean
  /** A dm-crypt mapping through tresor.ko instead of NBD. */
  readonly kernel: boolean
  /** Path of a detached header. */
  readonly header: string | null
  /** Limit of the time I/O waits while locked; `null`: no limit. */
  readonly graceSeconds: number | null
  /** Cycles burnt per entry and exit to model SGX; software backend only. */
  readonly transitionCycles: number
  readonly warn: SessionParts["warn"]
}

function makeVolume(options: SessionOptions, parts: ConstructorParameters<typeof Volume>[0]): Volume {
  try {
    return new Volume(parts)
  } catch (error) {
    if (!(error instanceof IoError)) throw error
    throw new TresorError(
      "SEGMENT_OUTSIDE",
      Exit.wrongDevice,
      `Cannot open ${options.path}: ${error.message}; it may be truncated`,
    )
  }
}

/**
 * A detached header that is taken for the volume, or one that lies in what it
 * describes: the first write would destroy it. Throws HEADER_IN_DATA (exit 4).
 */
function checkApart({ path, header }: SessionOptions, { offset, size }: Segment, headerSize: bigint): void {
  const place = { path: header ?? path, offset: 0n, size: headerSize }
  if (!overlap(place, { path, offset, size })) return
  throw new TresorError(
    "HEADER_IN_DATA",
    Exit.wrongDevice,
    header === null
      ? `Cannot open ${path}: it is a detached header, without data; name the data device, and this file with --header`
      : `Cannot open ${path}: the header in ${header} overlaps with the data area, which begins at offset ${offset} of the same device`,
  )
}

function hold(path: string, { direct }: SessionOptions): HeldPath {
  try {
    return new HeldPath(path)
  } catch (error) {
    throw openError(path, direct, error as NodeJS.ErrnoException)
  }
}

type Served = Pick<SessionParts, "volume" | "stopServing" | "clients">

type Undo = (() => Promise<void>)[]

async function overNbd(
  options: SessionOptions & { owner: object; at: { at?: string } },
  segment: Segment,
  undo: Undo,
): Promise<Served> {
  const { readonly, direct, owner, at, warn } = options
  const store = await openStore(options.path, { readOnly: readonly, direct, owner, log: warn, ...at })
  undo.push(() => store.close())
  const { minimumBlock = 1 } = store
  if (segment.sectorSize % minimumBlock !== 0 || segment.offset % BigInt(minimumBlock) !== 0n) {
    throw new TresorError(
      "STORE_UNFIT",
      Exit.wrongDevice,
      `Cannot open ${options.path}: the NBD server takes whole blocks of ${minimumBlock} bytes, the volume has sectors of ` +
        `${segment.sectorSize} from byte ${segment.offset} on; serve it with smaller blocks`,
    )
  }
  const volume = makeVolume(options, {
    store,
    offset: Number(segment.offset),
    size: segment.size === null ? null : Number(segment.size),
    sectorSize: segment.sectorSize,
    readOnly: options.readonly,
    discards: options.discards,
    lockGraceMs: options.graceSeconds === null ? null : options.graceSeconds * 1000,
  })
  const server = await serveNbd({ path: options.socket, volume })
  undo.push(() => server.close())
  // The directory is 0700 already; the mode keeps the promise when it is moved.
  chmodSync(options.socket, 0o600)
  return { volume, stopServing: () => server.close(), clients: () => server }
}

async function asMapping(options: SessionOptions, uuid: string, segment: Segment): Promise<Served> {
  const { KernelVolume } = await import("../mapping/volume.ts")
  const { name, path, readonly, discards, warn } = options
  const volume = await KernelVolume.open({ ...segment, name, path, uuid, readOnly: readonly, discards, warn })
  return { volume, stopServing: async () => {} }
}

export async function startSession(options: SessionOptions): Promise<Session> {
  const undo: Undo = []
  try {
    const { transitionCycles } = options
    const backend = chooseBackend(options.backend)
    const { warn } = options
    const owner = {}
    // What is found now is meant by all that follows, whatever becomes of the paths.
    const held = new Map<string, HeldPath>()
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
    const headerPath = options.header ?? options.path
    const header = await openHeader(headerPath, {
      ...at(headerPath),
      readOnly: options.readonly,
      backend,
      owner,
      warn,
    })
    const { segment } = header
    checkApart(options, segment, header.size)
    const newEnclave = () => openEnclave({ backend, transitionCycles, sealsNothing: !header.sealed })
    const enclave = await newEnclave()
    undo.push(() => enclave.close())
    // cryptsetup's persistent flag counts as if it were given.
    const asked = { ...options, owner, at: at(options.path), discards: options.discards || header.discards }
    const served = options.kernel ? await asMapping(asked, header.uuid, segment) : await overNbd(asked, segment, undo)
    return new Session({
      ...options,
      ...served,
      held: [...held.values()],
      header,
      cipher: segment.cipher,
      keySize: segment.keySize,
      enclave,
      openEnclave: newEnclave,
    })
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {})
    throw error
  }
}
