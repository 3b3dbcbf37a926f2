/** Opens the store of a header by its path: a file, a block device, or an NBD export. */
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { FileStore } from "../store/file-store.ts"
import type { OpenStoreOptions } from "../store/open.ts"
import { openError } from "../store/open-error.ts"
import type { Store } from "../store/store.ts"

export interface HeaderStoreOptions extends Pick<OpenStoreOptions, "permit" | "patienceMs"> {
  readonly readOnly: boolean
  /** A block device is taken with O_EXCL, which fails for one that is mounted or mapped. */
  readonly exclusive?: boolean
  /** The command has --readonly, which may be advised. */
  readonly readonlyHelps?: boolean
  /** Opened instead of the path, if the path is not a URI. */
  readonly at?: string
  /** Of an NBD export, which the volume's data have with it. */
  readonly owner?: object
}

/** A file or block device; rejects with Node's errors, or TresorError NOT_A_DEVICE (exit 4). */
export async function openFile(
  path: string,
  { readOnly, exclusive = false, at = path }: Pick<HeaderStoreOptions, "readOnly" | "exclusive" | "at">,
): Promise<Store> {
  try {
    return await FileStore.open(path, { readOnly, claim: exclusive ? "device" : "none", at })
  } catch (error) {
    if (!(error instanceof IoError)) throw error
    throw new TresorError(
      "NOT_A_DEVICE",
      Exit.wrongDevice,
      `Cannot use ${path}: ${error.message}; name a file or block device`,
      { cause: error },
    )
  }
}

/** Throws TresorError: NOT_A_DEVICE, and those of store/open-error.ts. The volume on it may be in use. */
export async function openForHeader(path: string, options: HeaderStoreOptions): Promise<Store> {
  if (isNbdUri(path)) {
    const { openStore } = await import("../store/open.ts")
    return openStore(path, { ...options, direct: false })
  }
  try {
    return await openFile(path, options)
  } catch (error) {
    if (error instanceof TresorError) throw error
    throw openError(path, false, error as NodeJS.ErrnoException, { readonlyHelps: false, ...options })
  }
}
