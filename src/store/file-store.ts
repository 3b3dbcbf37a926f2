/**
 * A regular file (holes read as zeros) or a block device. With a `disk`, requests
 * wait in its queue, so that a disk that hangs holds nobody else; without, in Node's
 * thread pool. With `direct`, all goes past the page cache in whole blocks, and nothing
 * through it (docs/decisions/0064).
 */
import { closeSync, constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { asIoError, IoError } from "../base/io-error.ts"
import { blockDevice, blockDeviceSize, isWriteProtected } from "./block-device.ts"
import type { Disk } from "./disk.ts"
import type { LockMode } from "./header-lock.ts"
import { checkRange, type Store } from "./store.ts"

export interface FileStoreOptions {
  readonly readOnly?: boolean
  /** O_DIRECT; with `transfers`. */
  readonly direct?: boolean
  /**
   * "all": it is claimed for as long as it is open (claim.ts), a block device with O_EXCL as well. "device": a block device with
   * O_EXCL only. "none": others may have it too, as while a command changes the header of a volume in use.
   */
  readonly claim?: "all" | "device" | "none"
  /** In place of a claim of its own: another process's, whose volume is taken over. Closed with the store. */
  readonly claims?: readonly number[]
  /** What is opened instead of the path, which is only named then. */
  readonly at?: string
  /** Has a `disk`, for a volume's data. "ring", "threads": of that kind, for tests. */
  readonly transfers?: "any" | "ring" | "threads"
  /** Of its `disk`, beside the event loop. */
  readonly ioThreads?: number
}

/** Discards go in parts: one of a large file system may take seconds, and a request may be given up between two. */
const DISCARD_BYTES = 1 << 30

/** Linux opens a write-protected block device for writing (BLKROGET says so) and fails each write. Throws EROFS. */
async function checkWritable(handle: FileHandle): Promise<void> {
  const stat = await handle.stat()
  if (!stat.isBlockDevice() || !isWriteProtected(stat.rdev)) return
  throw Object.assign(new Error("it is write-protected"), { code: "EROFS" })
}

/** Bytes of an open file or block device. Throws EINVAL for anything else. */
export async function fileSize(handle: FileHandle): Promise<number> {
  const stat = await handle.stat()
  if (stat.isFile()) return stat.size
  if (stat.isBlockDevice()) return blockDeviceSize(stat.rdev)
  throw new IoError("EINVAL", "it is neither a regular file nor a block device")
}

/** `direct`: a filesystem without O_DIRECT is an error (EINVAL); else its reads come from the page cache only. */
async function openDisk(
  path: string,
  access: number,
  { fd }: FileHandle,
  {
    direct,
    engine,
    threads,
  }: {
    readonly direct: boolean
    readonly engine: NonNullable<FileStoreOptions["transfers"]>
    readonly threads: number
  },
): Promise<Disk> {
  // The first descriptor holds the claim of a block device; this one must not ask for it again.
  const pastCache = open(path, access | constants.O_DIRECT)
  const [{ Disk }, past] = await Promise.all([import("./disk.ts"), direct ? pastCache : pastCache.catch(() => null)])
  try {
    const disk = new Disk({ fd, directFd: past?.fd ?? null, engine, direct, threads })
    if (!direct || disk.block !== null) return disk
    disk.close()
    throw Object.assign(new Error("it has no O_DIRECT"), { code: "EINVAL" })
  } finally {
    await past?.close()
  }
}

type Native = typeof import("../native/file.ts")

export class FileStore implements Store {
  readonly discards = true
  readonly readOnly: boolean
  readonly #handle: FileHandle
  /** Of the backing file of a loop device. */
  #claims: readonly FileHandle[] = []
  /** Of the process that had it before. */
  #inherited: readonly number[] = []
  #direct = false
  #disk: Disk | null = null
  readonly #native: Native
  readonly path: string
  #size = 0
  /** Bytes; discards start and end on it. */
  #discardUnit = 1
  #failed: IoError | null = null
  /** Work on the descriptors that Node does not know of. */
  #working = 0
  #idle: (() => void) | null = null

  private constructor(handle: FileHandle, native: Native, path: string, readOnly: boolean) {
    this.#handle = handle
    this.#native = native
    this.path = path
    this.readOnly = readOnly
  }

  /**
   * Rejects with Node's errors (EBUSY: mounted, or claimed by another program), EINVAL for what is neither a
   * regular file nor a block device, EROFS; or with TresorError STORE_BUSY.
   */
  static async open(
    path: string,
    {
      readOnly = false,
      direct = false,
      claim = "all",
      claims: inherited,
      at = path,
      transfers,
      ioThreads = 0,
    }: FileStoreOptions = {},
  ): Promise<FileStore> {
    const access = readOnly ? constants.O_RDONLY : constants.O_RDWR
    const [native, claims] = await Promise.all([
      import("../native/file.ts"),
      claim === "all" && inherited === undefined ? import("./claim.ts") : null,
    ])
    await claims?.refuseWriters(at, path)
    // O_EXCL without O_CREAT has a meaning for block devices only; a FIFO must not make us wait for its other end.
    const exclusive = claim === "none" || inherited !== undefined ? 0 : constants.O_EXCL
    const handle = await open(at, access | exclusive | constants.O_NONBLOCK)
    const store = new FileStore(handle, native, path, readOnly)
    try {
      store.#size = await fileSize(handle)
      if (!readOnly) await checkWritable(handle)
      if (claims !== null) store.#claims = await claims.claimStore(path, handle, !readOnly)
      const stat = await handle.stat()
      if (stat.isBlockDevice()) store.#discardUnit = blockDevice(stat.rdev).logicalBlock
      if (transfers !== undefined)
        store.#disk = await openDisk(at, access, handle, { direct, engine: transfers, threads: ioThreads })
      store.#direct = direct
      store.#inherited = inherited ?? []
      return store
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** A flush failed: what was written since the one before may be lost, whoever wrote it. */
  get failed(): boolean {
    return this.#failed !== null
  }

  get size(): number {
    return this.#size
  }

  get claims(): readonly number[] {
    if (this.#inherited.length > 0) return this.#inherited
    return [this.#handle, ...this.#claims].map(({ fd }) => fd)
  }

  get fd(): number | null {
    return this.#direct ? null : this.#handle.fd
  }

  /** What does not move in whole blocks is an error (EINVAL). 1: everything moves. */
  get minimumBlock(): number {
    return this.#direct ? this.#disk!.block! : 1
  }

  get disk(): Disk | null {
    return this.#disk
  }

  async #readCached(offset: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, offset + done)
      if (bytesRead === 0) throw new IoError("EIO", `${this.path} ends before byte ${offset + into.length}`)
      done += bytesRead
    }
  }

  /** While it runs, no descriptor is closed: its number could be another file's by then. */
  async #work<T>(body: () => Promise<T>): Promise<T> {
    this.#working++
    try {
      return await body()
    } finally {
      if (--this.#working === 0) this.#idle?.()
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, into.length)
    if (into.length === 0) return
    try {
      await (this.#disk === null ? this.#readCached(offset, into) : this.#disk.get(offset, into))
    } catch (error) {
      throw asIoError(error)
    }
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.path} is open read-only`)
    if (this.#failed !== null) throw this.#failed
    checkRange(this.#size, offset, from.length)
    if (from.length === 0) return
    try {
      await (this.#disk === null
        ? this.#work(() => this.#native.writeInside(this.#handle.fd, from, offset))
        : this.#disk.put(offset, from))
    } catch (error) {
      throw asIoError(error)
    }
  }

  /**
   * The system tells of pages it could not write once, and forgets them: a later
   * fdatasync(2) that succeeds says nothing of them. So this one is the last.
   */
  async flush(): Promise<void> {
    if (this.#failed !== null) throw this.#failed
    try {
      await (this.#disk === null ? this.#handle.datasync() : this.#disk.sync())
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      this.#failed ??= new IoError(
        "EIO",
        `a flush of ${this.path} failed (${code ?? message}), and what was written before it may be lost; ` +
          "reading goes on, for writing it must be closed and opened again",
      )
      throw this.#failed
    }
  }

  /** Punches a hole, rounded inwards to the device's blocks; a filesystem that has none keeps its blocks. */
  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", `${this.path} is open read-only`)
    checkRange(this.#size, offset, length)
    if (this.#failed !== null) throw this.#failed
    const unit = this.#discardUnit
    const end = Math.floor((offset + length) / unit) * unit
    try {
      for (let at = Math.ceil(offset / unit) * unit; at < end; at += DISCARD_BYTES) {
        const part = Math.min(DISCARD_BYTES, end - at)
        await (this.#disk === null
          ? this.#work(() => this.#native.punchHole(this.#handle.fd, at, part))
          : this.#disk.punch(at, part))
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EOPNOTSUPP") throw asIoError(error)
    }
  }

  async refresh(): Promise<number> {
    this.#size = await fileSize(this.#handle)
    return this.#size
  }

  async locked<T>(mode: LockMode, work: () => Promise<T>): Promise<T> {
    const { withHeaderLock } = await import("./header-lock.ts")
    return withHeaderLock({ handle: this.#handle, path: this.path, readOnly: this.readOnly }, mode, work)
  }

  async close(): Promise<void> {
    if (this.#working > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    this.#disk?.close()
    for (const claim of this.#claims) await claim.close()
    for (const fd of this.#inherited) closeSync(fd)
    await this.#handle.close()
  }
}
