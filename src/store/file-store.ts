/**
 * A regular file (holes read as zeros) or a block device. With `direct`, whole
 * 4096-byte blocks go past the page cache; what is left at the edges of a
 * request goes through it, which Linux keeps coherent.
 */
import { constants } from "node:fs"
import { type FileHandle, open, readFile } from "node:fs/promises"
import { DIRECT_BLOCK, DirectFile } from "./direct.ts"
import { asIoError, checkRange, IoError, type Store } from "./store.ts"

export interface FileStoreOptions {
  readonly readOnly?: boolean
  readonly direct?: boolean
}

/** The kernel counts a block device in 512-byte units, whatever its sectors are. */
async function deviceSize(rdev: number): Promise<number> {
  const major = Math.floor(rdev / 256) & 0xfff
  const minor = (rdev & 0xff) | (Math.floor(rdev / 4096) & 0xfff00)
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, "latin1")) * 512
}

/** Bytes of an open file or block device. Throws EINVAL for anything else. */
export async function fileSize(handle: FileHandle): Promise<number> {
  const stat = await handle.stat()
  if (stat.isFile()) return stat.size
  if (stat.isBlockDevice()) return deviceSize(stat.rdev)
  throw new IoError("EINVAL", "it is neither a regular file nor a block device")
}

async function openDirect(path: string, access: number): Promise<DirectFile> {
  const { alignedBuffer } = await import("./native-file.ts")
  // The first descriptor holds the claim of a block device; this one must not ask for it again.
  return new DirectFile(await open(path, access | constants.O_DIRECT), alignedBuffer)
}

export class FileStore implements Store {
  readonly discards = true
  readonly readOnly: boolean
  readonly #handle: FileHandle
  readonly #direct: DirectFile | null
  readonly #path: string
  #size: number
  #punchHole: ((fd: number, offset: number, length: number) => void) | null = null

  private constructor(handle: FileHandle, direct: DirectFile | null, path: string, size: number, readOnly: boolean) {
    this.#handle = handle
    this.#direct = direct
    this.#path = path
    this.#size = size
    this.readOnly = readOnly
  }

  /** Takes a block device with O_EXCL: EBUSY when it is mounted or claimed. Rejects with Node's errors. */
  static async open(path: string, { readOnly = false, direct = false }: FileStoreOptions = {}): Promise<FileStore> {
    const access = readOnly ? constants.O_RDONLY : constants.O_RDWR
    // O_EXCL without O_CREAT has a meaning for block devices only; a FIFO must not make us wait for its other end.
    const handle = await open(path, access | constants.O_EXCL | constants.O_NONBLOCK)
    try {
      const size = await fileSize(handle)
      return new FileStore(handle, direct ? await openDirect(path, access) : null, path, size, readOnly)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  get size(): number {
    return this.#size
  }

  get fd(): number | null {
    return this.#direct === null ? this.#handle.fd : null
  }

  async #readCached(offset: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, offset + done)
      if (bytesRead === 0) throw new IoError("EIO", `${this.#path} ends before byte ${offset + into.length}`)
      done += bytesRead
    }
  }

  async #writeCached(offset: number, from: Uint8Array): Promise<void> {
    for (let done = 0; done < from.length; ) {
      const { bytesWritten } = await this.#handle.write(from, done, from.length - done, offset + done)
      if (bytesWritten === 0) throw new IoError("EIO", `${this.#path} takes no more bytes`)
      done += bytesWritten
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, into.length)
    try {
      const [head, body] = this.#parts(offset, into.length)
      if (head > 0) await this.#readCached(offset, into.subarray(0, head))
      if (body > 0) await this.#direct!.read(offset + head, into.subarray(head, head + body))
      if (head + body < into.length) await this.#readCached(offset + head + body, into.subarray(head + body))
    } catch (error) {
      throw asIoError(error)
    }
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.#path} is open read-only`)
    checkRange(this.#size, offset, from.length)
    try {
      const [head, body] = this.#parts(offset, from.length)
      if (head > 0) await this.#writeCached(offset, from.subarray(0, head))
      if (body > 0) await this.#direct!.write(offset + head, from.subarray(head, head + body))
      if (head + body < from.length) await this.#writeCached(offset + head + body, from.subarray(head + body))
    } catch (error) {
      throw asIoError(error)
    }
  }

  /** Bytes for the cache before the first whole block, and bytes of whole blocks; the rest is for the cache too. */
  #parts(offset: number, length: number): [head: number, body: number] {
    if (this.#direct === null) return [length, 0]
    const head = Math.min(length, Math.ceil(offset / DIRECT_BLOCK) * DIRECT_BLOCK - offset)
    return [head, length - head - ((length - head) % DIRECT_BLOCK)]
  }

  async flush(): Promise<void> {
    try {
      await this.#handle.datasync()
    } catch (error) {
      throw asIoError(error)
    }
  }

  /** Punches a hole; a filesystem that has none keeps its blocks. */
  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.#path} is open read-only`)
    checkRange(this.#size, offset, length)
    if (length === 0) return
    this.#punchHole ??= (await import("./native-file.ts")).punchHole
    try {
      this.#punchHole(this.#handle.fd, offset, length)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EOPNOTSUPP") throw asIoError(error)
    }
  }

  async refresh(): Promise<number> {
    this.#size = await fileSize(this.#handle)
    return this.#size
  }

  async close(): Promise<void> {
    await this.#direct?.close()
    await this.#handle.close()
  }
}
