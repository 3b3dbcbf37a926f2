/** Puts a session together: store, header, enclave, NBD service; undone in reverse when one of them fails. */
import { chmodSync } from "node:fs"
import { openEnclave } from "../enclave/loader.ts"
import type { Backend, SealPolicy } from "../enclave/types.ts"
import { Exit, TresorError } from "../errors.ts"
import { serveNbd } from "../nbd/server.ts"
import { openStore } from "../store/open.ts"
import { IoError } from "../store/store.ts"
import { Volume } from "../volume/volume.ts"
import { openHeader } from "./header.ts"
import { Session, type SessionParts } from "./session.ts"

export interface SessionOptions {
  readonly path: string
  readonly name: string
  readonly uri: string
  readonly socket: string
  readonly backend: Backend | "auto"
  readonly sealPolicy: SealPolicy
  readonly readonly: boolean
  readonly discards: boolean
  readonly direct: boolean
  /** Path of a detached header. */
  readonly header: string | null
  /** How long I/O waits while locked; `null`: for ever. */
  readonly graceSeconds: number | null
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

export async function startSession(options: SessionOptions): Promise<Session> {
  const undo: (() => Promise<void>)[] = []
  try {
    const store = await openStore(options.path, { readOnly: options.readonly, direct: options.direct })
    undo.push(() => store.close())
    const header = await openHeader(options.header ?? options.path, { readOnly: options.readonly })
    const { segment } = await header.read()
    const volume = makeVolume(options, {
      store,
      offset: Number(segment.offset),
      size: segment.size === null ? null : Number(segment.size),
      sectorSize: segment.sectorSize,
      readOnly: options.readonly,
      discards: options.discards,
      lockGraceMs: options.graceSeconds === null ? null : options.graceSeconds * 1000,
    })
    const newEnclave = () => openEnclave({ backend: options.backend })
    const enclave = await newEnclave()
    undo.push(() => enclave.close())
    const server = await serveNbd({ path: options.socket, volume })
    // The directory is 0700 already; the mode keeps the promise when it is moved.
    chmodSync(options.socket, 0o600)
    return new Session({
      ...options,
      header,
      volume,
      cipher: segment.cipher,
      keySize: segment.keySize,
      enclave,
      openEnclave: newEnclave,
      stopServing: () => server.close(),
    })
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {})
    throw error
  }
}
