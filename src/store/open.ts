/** The store behind a path or URI. */
import { Exit, TresorError } from "../errors.ts"
import { isNbdUri, parseNbdUri } from "../nbd/uri.ts"
import { FileStore } from "./file-store.ts"
import { NbdStore } from "./nbd-store.ts"
import { IoError, type Store } from "./store.ts"

export interface OpenStoreOptions {
  readonly readOnly: boolean
  /** O_DIRECT; means nothing to an NBD server. */
  readonly direct: boolean
}

/** Nothing smaller holds a sector; the header and the segment have their own opinion. */
const SMALLEST = 512

/**
 * A regular file, a block device (taken exclusively) or an NBD export. Throws
 * TresorError: STORE_MISSING, STORE_DENIED, STORE_BUSY, STORE_UNFIT, STORE_TOO_SMALL,
 * STORE_UNREACHABLE, NBD_URI.
 */
export async function openStore(path: string, { readOnly, direct }: OpenStoreOptions): Promise<Store> {
  const store = await (isNbdUri(path) ? openNbd(path, readOnly) : openFile(path, readOnly, direct))
  if (store.size >= SMALLEST) return store
  await store.close()
  throw new TresorError(
    "STORE_TOO_SMALL",
    Exit.wrongDevice,
    `Cannot open ${path}: it has ${store.size} bytes, too small for a volume`,
  )
}

async function openFile(path: string, readOnly: boolean, direct: boolean): Promise<Store> {
  try {
    return await FileStore.open(path, { readOnly, direct })
  } catch (error) {
    throw fileError(path, direct, error as NodeJS.ErrnoException)
  }
}

function fileError(path: string, direct: boolean, error: NodeJS.ErrnoException): TresorError {
  const refuse = (code: string, exit: (typeof Exit)[keyof typeof Exit], fact: string) =>
    new TresorError(code, exit, `Cannot open ${path}: ${fact}`, { cause: error })
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
      return refuse("STORE_MISSING", Exit.wrongDevice, "no such file or device; `tresor create` makes one")
    case "ENXIO":
    case "ENODEV":
    case "ENOMEDIUM":
      return refuse("STORE_MISSING", Exit.wrongDevice, "there is no device behind it")
    case "EACCES":
    case "EPERM":
      return refuse("STORE_DENIED", Exit.denied, "permission denied; try --readonly, or another user")
    case "EROFS":
      return refuse("STORE_DENIED", Exit.denied, "it lies on a read-only filesystem; use --readonly")
    case "EBUSY":
    case "ETXTBSY":
      return refuse("STORE_BUSY", Exit.busy, "it is mounted or used by another program; unmount or close it first")
    case "EISDIR":
      return refuse("STORE_UNFIT", Exit.wrongDevice, "it is a directory, not a file or block device")
    case "EINVAL":
      if (direct && !(error instanceof IoError)) {
        return refuse("STORE_UNFIT", Exit.wrongDevice, "its filesystem has no O_DIRECT; leave --direct out")
      }
      return refuse("STORE_UNFIT", Exit.wrongDevice, error.message)
    default:
      return refuse("STORE_UNFIT", Exit.wrongDevice, error.message)
  }
}

async function openNbd(uri: string, readOnly: boolean): Promise<Store> {
  const target = parseNbdUri(uri)
  try {
    return await NbdStore.open(target, { readOnly })
  } catch (error) {
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
      code === "EPERM" || code === "EACCES" ? Exit.denied : Exit.wrongDevice,
      `Cannot open ${uri}: ${fact}`,
      { cause: error },
    )
  }
}
