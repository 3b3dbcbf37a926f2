/** A regular file (holes read as zeros) or a block device, through the page cache. */
import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { asIoError, checkRange, IoError, type Store } from "./store.ts"

/** A block device tells its size by the end of it, not by stat. */
async function sizeOf(handle: FileHandle, path: string): Promise<number> {
  const stat = await handle.stat()
  if (stat.isFile()) return stat.size
  if (!stat.isBlockDevice()) throw new IoError("EINVAL", `${path} is neither a regular file nor a block device`)
  // The last readable byte, by halving: Node has neither lseek nor ioctl.
  const probe = new Uint8Array(1)
  let low = 0
  let high = Number.MAX_SAFE_INTEGER
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2)
    const readable = await handle.read(probe, 0, 1, middle).then(
      ({ bytesRead }) => bytesRead === 1,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "EINVAL" || error.code === "ENXIO") return false
        throw error
      },
    )
    if (readable) low = middle + 1
    else high = middle
  }
  return low
}

export class FileStore implements Store {
  readonly discards = false
  readonly readOnly: boolean
  readonly #handle: FileHandle
  readonly #path: string
  #size: number

  private constructor(handle: FileHandle, path: string, size: number, readOnly: boolean) {
    this.#handle = handle
    this.#path = path
    this.#size = size
    this.readOnly = readOnly
  }

  /** Takes a block device with O_EXCL: EBUSY when it is mounted or claimed. Rejects with Node's errors. */
  static async open(path: string, { readOnly = false } = {}): Promise<FileStore> {
    // O_EXCL without O_CREAT has a meaning for block devices only.
    const flags = (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_EXCL
    const handle = await open(path, flags)
    try {
      return new FileStore(handle, path, await sizeOf(handle, path), readOnly)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  get size(): number {
    return this.#size
  }

  get fd(): number {
    return this.#handle.fd
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, into.length)
    try {
      for (let done = 0; done < into.length; ) {
        const { bytesRead } = await this.#handle.read(into, done, into.length - done, offset + done)
        if (bytesRead === 0) throw new IoError("EIO", `${this.#path} ends before byte ${offset + into.length}`)
        done += bytesRead
      }
    } catch (error) {
      throw asIoError(error)
    }
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.#path} is open read-only`)
    checkRange(this.#size, offset, from.length)
    try {
      for (let done = 0; done < from.length; ) {
        const { bytesWritten } = await this.#handle.write(from, done, from.length - done, offset + done)
        if (bytesWritten === 0) throw new IoError("EIO", `${this.#path} takes no more bytes`)
        done += bytesWritten
      }
    } catch (error) {
      throw asIoError(error)
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#handle.datasync()
    } catch (error) {
      throw asIoError(error)
    }
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.#path} is open read-only`)
    checkRange(this.#size, offset, length)
  }

  async refresh(): Promise<number> {
    this.#size = await sizeOf(this.#handle, this.#path)
    return this.#size
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}
