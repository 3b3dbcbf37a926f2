/**
 * A header on a file or block device, under cryptsetup's lock: a file is
 * locked itself, a block device through /run/cryptsetup/L_<major>:<minor>
 * (cryptsetup, lib/utils_device_locking.c: the rules, not the code).
 */
import { constants } from "node:fs"
import { type FileHandle, mkdir, open, stat } from "node:fs/promises"
import { setTimeout as delay } from "node:timers/promises"
import { flock } from "../enclave/native.ts"
import { Exit, TresorError } from "../errors.ts"
import { probeByBlkid } from "../store/blkid.ts"
import { checkWritable, fileSize } from "../store/file-store.ts"
import type { HeaderDevice } from "./device.ts"
import { findSignature, findUnknownToBlkid } from "./signatures.ts"

const LOCK_DIRECTORY = "/run/cryptsetup"
const LOCK_PATIENCE_MS = 30_000
const LOCK_PAUSE_MS = 50

class FileDevice implements HeaderDevice {
  readonly path: string
  readonly readOnly: boolean
  readonly #handle: FileHandle

  constructor(handle: FileHandle, path: string, readOnly: boolean) {
    this.#handle = handle
    this.path = path
    this.readOnly = readOnly
  }

  size(): Promise<number> {
    return fileSize(this.#handle)
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, offset + done)
      if (bytesRead === 0) {
        throw new TresorError(
          "LUKS2_TRUNCATED",
          Exit.wrongDevice,
          `Cannot read the header of ${this.path}: it ends after ${offset + done} bytes`,
        )
      }
      done += bytesRead
    }
    return bytes
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, offset + done)
      done += bytesWritten
    }
  }

  sync(): Promise<void> {
    return this.#handle.sync()
  }

  async signature(options: { readonly luks: boolean }): Promise<string | null> {
    const theirs = await probeByBlkid(this.#handle.fd, options)
    if (theirs === null) return findSignature(this, options)
    return theirs === "nothing" ? findUnknownToBlkid(this, options) : theirs
  }

  async locked<T>(mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T> {
    const lock = await this.#openLock()
    try {
      for (const began = Date.now(); !flock(lock.fd, mode, { wait: false }); ) {
        if (Date.now() - began > LOCK_PATIENCE_MS) {
          throw new TresorError(
            "LUKS2_LOCKED",
            Exit.busy,
            `Cannot use the header of ${this.path}: another program holds its lock; try again when it has ended`,
          )
        }
        await delay(LOCK_PAUSE_MS)
      }
      return await work()
    } finally {
      await lock.close()
    }
  }

  /** Of its own: closing releases the lock. */
  async #openLock(): Promise<FileHandle> {
    const { rdev, mode } = await this.#handle.stat()
    if ((mode & constants.S_IFMT) !== constants.S_IFBLK) {
      // The path may lead elsewhere by now; the open file is what is to be locked.
      return open(`/proc/self/fd/${this.#handle.fd}`, this.readOnly ? "r" : "r+")
    }
    await mkdir(LOCK_DIRECTORY, { recursive: true, mode: 0o700 })
    const major = (rdev >>> 8) & 0xfff
    const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)
    const path = `${LOCK_DIRECTORY}/L_${major}:${minor}`
    for (;;) {
      const lock = await open(path, constants.O_CREAT | constants.O_RDWR, 0o600)
      // cryptsetup unlinks the file when its last user is done.
      const [ours, now] = await Promise.all([lock.stat(), stat(path).catch(() => null)])
      if (now !== null && ours.ino === now.ino) return lock
      await lock.close()
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** `exclusive`: a block device is taken with O_EXCL, which fails (EBUSY) for one that is mounted or mapped. */
export async function openFileDevice(
  path: string,
  { readOnly, exclusive = false }: { readonly readOnly: boolean; readonly exclusive?: boolean },
): Promise<HeaderDevice> {
  const access = (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK
  const handle = await open(path, access | (exclusive ? constants.O_EXCL : 0))
  try {
    // Refuses what is neither a file nor a block device.
    await fileSize(handle)
    if (!readOnly) await checkWritable(handle)
    return new FileDevice(handle, path, readOnly)
  } catch (error) {
    await handle.close()
    if ((error as NodeJS.ErrnoException).code === "EROFS") throw error
    throw new TresorError(
      "NOT_A_DEVICE",
      Exit.wrongDevice,
      `Cannot use ${path}: ${(error as Error).message}; name a file or block device`,
      { cause: error },
    )
  }
}
