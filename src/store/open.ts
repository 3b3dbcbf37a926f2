/** The store behind a path or URI. */
import { exitOfErrno } from "../base/errno.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { isNbdUri, parseNbdUri } from "../nbd/uri.ts"
import { FileStore, type FileStoreOptions } from "./file-store.ts"
import { NbdStore, type NbdStoreOptions } from "./nbd-store.ts"
import { openError } from "./open-error.ts"
import type { Permit, Store } from "./store.ts"

export interface OpenStoreOptions {
  readonly readOnly: boolean
  /** O_DIRECT; means nothing to an NBD server. */
  readonly direct: boolean
  /** Threads that move and decrypt data beside the event loop; means nothing to an NBD server. Default: none. */
  readonly ioThreads?: number
  /** Of whoever has the file or device now, and gives it to us. */
  readonly claims?: readonly number[]
  /** Opened instead of the path, if the path is not a URI. */
  readonly at?: string
  /** Of an NBD export, which stores of one owner share. */
  readonly owner?: object
  /** Asked before each request to an NBD server. */
  readonly permit?: Permit
  /** How long requests wait for an NBD server that is silent or gone before they end in EIO; default: a minute. */
  readonly patienceMs?: number
  /** Called when connections to an NBD server are lost and made again. */
  readonly log?: NbdStoreOptions["log"]
}

/** Nothing smaller holds a sector; the header and the segment have their own opinion. */
const SMALLEST = 512

/**
 * A regular file, a block device (taken exclusively) or an NBD export. Throws
 * TresorError: STORE_MISSING, STORE_DENIED, STORE_BUSY, STORE_UNFIT, STORE_TOO_SMALL,
 * STORE_UNREACHABLE, NBD_URI.
 */
export async function openStore(path: string, options: OpenStoreOptions): Promise<Store> {
  const { readOnly, direct, ioThreads = 0, claims, at, owner, log, permit, patienceMs } = options
  // A silent server is given up after one half, and may come back in the other.
  const half = patienceMs === undefined ? {} : { timeoutMs: patienceMs / 2, lossGraceMs: patienceMs / 2 }
  const store = await (isNbdUri(path)
    ? openNbd(path, { readOnly, ...half, ...(owner && { owner }), ...(log && { log }), ...(permit && { permit }) })
    : openFile(path, {
        readOnly,
        direct,
        ioThreads,
        transfers: "any",
        ...(claims && { claims }),
        ...(at !== undefined && { at }),
      }))
  if (store.size >= SMALLEST) return store
  await store.close()
  throw new TresorError(
    "STORE_TOO_SMALL",
    Exit.wrongDevice,
    `Cannot open ${path}: it has ${store.size} bytes, too small for a volume`,
  )
}

async function openFile(path: string, options: FileStoreOptions & { direct: boolean }): Promise<Store> {
  try {
    return await FileStore.open(path, options)
  } catch (error) {
    if (error instanceof TresorError) throw error
    throw openError(path, options.direct, error as NodeJS.ErrnoException)
  }
}

async function openNbd(uri: string, options: NbdStoreOptions): Promise<Store> {
  const target = parseNbdUri(uri)
  try {
    return await NbdStore.open(target, { ...options, path: uri })
  } catch (error) {
    if (error instanceof TresorError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    const where = "path" in target.at ? target.at.path : `${target.at.host}:${target.at.port}`
    const fact =
      error instanceof IoError
        ? message
        : code === "EACCES"
          ? `permission denied on ${where}`
          : `no NBD server answers at ${where} (${code}); start it, or correct the address`
    throw new TresorError(
      code === "EPERM" || code === "EACCES" ? "STORE_DENIED" : "STORE_UNREACHABLE",
      exitOfErrno(code, Exit.wrongDevice),
      `Cannot open ${uri}: ${fact}`,
      { cause: error },
    )
  }
}
