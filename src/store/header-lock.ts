/**
 * cryptsetup's lock of a header: a file is locked itself, a block device through
 * /run/cryptsetup/L_<major>:<minor> (cryptsetup, lib/utils_device_locking.c: the
 * rules, not the code).
 */
import { constants } from "node:fs"
import { type FileHandle, mkdir, open, stat, unlink } from "node:fs/promises"
import { setTimeout as delay } from "node:timers/promises"
import { deviceNumber } from "../base/device-number.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { flock } from "../native/addon.ts"

const LOCK_DIRECTORY = "/run/cryptsetup"
const LOCK_PATIENCE_MS = 30_000
const LOCK_PAUSE_MS = 50

export type LockMode = "shared" | "exclusive"

/** Of its own: closing releases the lock. */
async function openLock(handle: FileHandle, readOnly: boolean): Promise<FileHandle> {
  const { rdev, mode } = await handle.stat()
  if ((mode & constants.S_IFMT) !== constants.S_IFBLK) {
    // The path may lead elsewhere by now; the open file is what is to be locked.
    return open(`/proc/self/fd/${handle.fd}`, readOnly ? "r" : "r+")
  }
  await mkdir(LOCK_DIRECTORY, { recursive: true, mode: 0o700 })
  const path = `${LOCK_DIRECTORY}/L_${deviceNumber(rdev)}`
  for (;;) {
    const lock = await open(path, constants.O_CREAT | constants.O_RDWR, 0o600)
    // cryptsetup unlinks the file when its last user is done.
    const [ours, now] = await Promise.all([lock.stat(), stat(path).catch(() => null)])
    if (now !== null && ours.ino === now.ino) return lock
    await lock.close()
  }
}

/** Runs `work` while the header on `handle` is locked. Throws TresorError LUKS2_LOCKED (exit 5) after 30 s. */
export async function withHeaderLock<T>(
  { handle, path, readOnly }: { readonly handle: FileHandle; readonly path: string; readonly readOnly: boolean },
  mode: LockMode,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await openLock(handle, readOnly)
  try {
    for (const began = Date.now(); !flock(lock.fd, mode, { wait: false }); ) {
      if (Date.now() - began > LOCK_PATIENCE_MS) {
        throw new TresorError(
          "LUKS2_LOCKED",
          Exit.busy,
          `Cannot use the header of ${path}: another program holds its lock; try again when it has ended`,
        )
      }
      await delay(LOCK_PAUSE_MS)
    }
    return await work()
  } finally {
    await lock.close()
  }
}

/**
 * cryptsetup's lock of the reencryption of a volume, which nobody waits for; resolves with what lets it go. Without the
 * right to the directory there is none, and cryptsetup, which is root's, would not see it. Throws REENCRYPT_BUSY (exit 5).
 */
export async function lockReencryption(uuid: string, path: string): Promise<() => Promise<void>> {
  const name = `${LOCK_DIRECTORY}/LN_LUKS2-reencryption-${uuid}`
  for (;;) {
    let lock: FileHandle
    try {
      await mkdir(LOCK_DIRECTORY, { recursive: true, mode: 0o700 })
      lock = await open(name, constants.O_CREAT | constants.O_RDWR, 0o600)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === "EACCES" || code === "EPERM" || code === "EROFS") return async () => {}
      throw error
    }
    const held = !flock(lock.fd, "exclusive", { wait: false })
    const [ours, now] = await Promise.all([lock.stat(), stat(name).catch(() => null)])
    if (!held && now !== null && ours.ino === now.ino) {
      return async () => {
        await unlink(name).catch(() => {})
        await lock.close()
      }
    }
    await lock.close()
    if (!held) continue
    throw new TresorError(
      "REENCRYPT_BUSY",
      Exit.busy,
      `Cannot reencrypt ${path}: another program reencrypts it, or opens it just now; wait for its end`,
    )
  }
}
