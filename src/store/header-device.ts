/** What a header lies on, by its path: a file, a block device, or an NBD server's export. */
import { Exit, TresorError } from "../errors.ts"
import type { HeaderDevice } from "../luks2/device.ts"
import { openFileDevice } from "../luks2/file-device.ts"
import { findSignature } from "../luks2/signatures.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { openError } from "./open-error.ts"
import type { Store } from "./store.ts"

/** A header on a store. An export has no lock file: cryptsetup cannot reach it either. */
class StoreDevice implements HeaderDevice {
  readonly path: string
  readonly #store: Store

  constructor(store: Store, path: string) {
    this.#store = store
    this.path = path
  }

  get readOnly(): boolean {
    return this.#store.readOnly
  }

  async size(): Promise<number> {
    return this.#store.size
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > this.#store.size) {
      throw new TresorError(
        "LUKS2_TRUNCATED",
        Exit.wrongDevice,
        `Cannot read the header of ${this.path}: it ends after ${this.#store.size} bytes`,
      )
    }
    const bytes = new Uint8Array(length)
    await this.#store.read(offset, bytes)
    return bytes
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#store.write(offset, bytes)
  }

  sync(): Promise<void> {
    return this.#store.flush()
  }

  signature(options: { readonly luks: boolean }): Promise<string | null> {
    return findSignature(this, options)
  }

  locked<T>(_mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T> {
    return work()
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

export interface HeaderDeviceOptions {
  readonly readOnly: boolean
  /** A block device is taken with O_EXCL, which fails for one that is mounted or mapped. */
  readonly exclusive?: boolean
  /** The command has --readonly, which may be advised. */
  readonly readonlyHelps?: boolean
  /** Of an NBD export, which the volume's data have with it. */
  readonly owner?: object
}

/** Throws TresorError. */
export async function openHeaderDevice(path: string, options: HeaderDeviceOptions): Promise<HeaderDevice> {
  if (!isNbdUri(path)) {
    try {
      return await openFileDevice(path, options)
    } catch (error) {
      throw error instanceof TresorError
        ? error
        : openError(path, false, error as NodeJS.ErrnoException, { readonlyHelps: false, ...options })
    }
  }
  const { openStore } = await import("./open.ts")
  const { readOnly, owner } = options
  return new StoreDevice(await openStore(path, { readOnly, direct: false, ...(owner && { owner }) }), path)
}
