/**
 * One store, one writer, whatever path leads to it: a lock on the file itself,
 * not on its name. The locks are qemu's (its block/file-posix.c says which bytes):
 * so qemu's programs and tresord keep off each other's images. A loop device is
 * claimed through its backing file. A program that takes no lock and writes anyway is
 * found by the kernel's count of writers, when we open.
 */
import { constants, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { Exit, TresorError } from "../base/errors.ts"
import { byteClaimed, claimByte, hasWriter } from "../native/file.ts"
import { blockDevice } from "./block-device.ts"

/** A byte each for what one does oneself, and for what one denies to others. */
const [DOES, DENIES] = [100, 200]
const [CONSISTENT_READ, WRITE, RESIZE] = [0, 1, 3]
/** A volume that begins inside of a file, by way of a loop device, has bytes of its own past any file's end. */
const INSIDE = 2 ** 50

/** O_ACCMODE of open(2). */
const ACCESS_MODE = 3

/** Commands that change a header have the file open for so long. */
const PATIENCE_MS = 1500
const PAUSE_MS = 50

/** Throws STORE_BUSY when another program has claimed it. */
function claimFile(fd: number, write: boolean, start: number, busy: () => TresorError): void {
  const base = start === 0 ? 0 : INSIDE + start
  const does = write ? [CONSISTENT_READ, WRITE] : [CONSISTENT_READ]
  const denies = [WRITE, RESIZE]
  try {
    for (const each of does) claimByte(fd, base + DOES + each)
    for (const each of denies) claimByte(fd, base + DENIES + each)
    const denied = does.some((each) => byteClaimed(fd, base + DENIES + each))
    const done = denies.some((each) => byteClaimed(fd, base + DOES + each))
    if (denied || done) throw busy()
  } catch (error) {
    if (error instanceof TresorError) throw error
    const { code } = error as NodeJS.ErrnoException
    // A filesystem without locks (some of FUSE's and NFS's) has none to keep.
    if (code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOLCK" && code !== "ENOSYS" && code !== "EINVAL") {
      throw error
    }
  }
}

/**
 * Tries again for a while when whoever has it is no process that can be seen: the kernel holds the files of a
 * tresord that was killed until its last requests have ended, and until then nobody else is to write.
 */
async function claimInTime(claim: () => void, { dev, ino }: { readonly dev: number; readonly ino: number }) {
  for (const began = Date.now(); ; await sleep(PAUSE_MS)) {
    try {
      return claim()
    } catch (error) {
      if (!(error instanceof TresorError) || Date.now() - began > PATIENCE_MS) throw error
      if (usersOf(dev, ino).some((user) => !user.endsWith(` ${process.pid})`))) throw error
    }
  }
}

/** "qemu-nbd (process 12)" of those that can be seen: our own processes, all for root; loop devices too. */
function usersOf(dev: number, ino: number): string[] {
  const users: string[] = []
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const writes = readdirSync(`/proc/${pid}/fd`).some((fd) => {
        const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1")
        // Since Linux 5.14: other files are not looked at, whose server (FUSE, NFS) may hang.
        const inode = /^ino:\s*(\d+)/m.exec(info)
        if (inode !== null && Number(inode[1]) !== ino) return false
        const stat = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
        if (stat?.ino !== ino || stat.dev !== dev) return false
        const flags = /^flags:\s*(\d+)/m.exec(info)
        return flags !== null && (Number.parseInt(flags[1]!, 8) & ACCESS_MODE) !== constants.O_RDONLY
      })
      if (writes) users.push(`${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (process ${pid})`)
    } catch {
      // Ended meanwhile, or another user's.
    }
  }
  for (const name of readdirSync("/sys/block").filter((each) => each.startsWith("loop"))) {
    try {
      const backing = statSync(readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").trimEnd())
      if (backing.ino === ino && backing.dev === dev) users.push(`/dev/${name}`)
    } catch {
      // Not attached.
    }
  }
  return users
}

/** Programs of this runtime: a `tresor key add` beside us. Every tresord has claimed what it has. */
function ourOwn(user: string): boolean {
  const pid = /\(process (\d+)\)$/.exec(user)?.[1]
  try {
    return pid !== undefined && readlinkSync(`/proc/${pid}/exe`) === readlinkSync("/proc/self/exe")
  } catch {
    return false
  }
}

function busy(path: string, dev: number, ino: number): TresorError {
  const users = usersOf(dev, ino).filter((user) => !user.endsWith(` ${process.pid})`))
  const who = users.length === 0 ? "another program (of another user, or in another container)" : users.join(", ")
  return new TresorError("STORE_BUSY", Exit.busy, `Cannot open ${path}: it is in use by ${who}; end it first`)
}

/**
 * Before a regular file is opened for writing. Throws STORE_BUSY when a program that
 * takes no locks has it open for writing: nbdkit, a loop device, an editor. `at` is what is opened, `path` its name.
 */
export async function refuseWriters(at: string, path: string): Promise<void> {
  const handle = await open(at, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null)
  // Not readable for us: what follows says so.
  if (handle === null) return
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) return
    for (const began = Date.now(); hasWriter(handle.fd) === true; await sleep(PAUSE_MS)) {
      const users = usersOf(stat.dev, stat.ino)
      if (users.length > 0 && users.every(ourOwn)) return
      if (Date.now() - began > PATIENCE_MS) throw busy(path, stat.dev, stat.ino)
    }
  } finally {
    await handle.close()
  }
}

/**
 * Claims an open file or block device until the returned handles and `handle` are
 * closed. Throws TresorError STORE_BUSY (exit 5).
 */
export async function claimStore(path: string, handle: FileHandle, write: boolean): Promise<FileHandle[]> {
  const stat = await handle.stat()
  await claimInTime(() => claimFile(handle.fd, write, 0, () => busy(path, stat.dev, stat.ino)), stat)
  if (!stat.isBlockDevice()) return []
  const loop = blockDevice(stat.rdev).loop
  if (loop === null) return []
  const backing = await open(loop.file, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null)
  // Deleted, or out of our sight: then it is out of the sight of others as well.
  if (backing === null) return []
  try {
    const { dev, ino } = await backing.stat()
    const others = () => usersOf(dev, ino).filter((user) => user !== loop.device && !user.endsWith(` ${process.pid})`))
    claimFile(backing.fd, write, loop.offset, () => {
      const who = others().length === 0 ? "another program" : others().join(", ")
      return new TresorError(
        "STORE_BUSY",
        Exit.busy,
        `Cannot open ${path}: its backing file ${loop.file} is in use by ${who}; end that first`,
      )
    })
    return [backing]
  } catch (error) {
    await backing.close()
    throw error
  }
}

export interface ClaimPathOptions {
  readonly write: boolean
  /** What was left behind by a tresord that was killed, and is ours, writes already. */
  readonly leftBehind: boolean
}

export interface PathClaim {
  readonly fds: readonly number[]
  release(): Promise<void>
}

/** Claims what others will open: the kernel, for a mapping. Throws STORE_BUSY. */
export async function claimPath(path: string, { write, leftBehind }: ClaimPathOptions): Promise<PathClaim> {
  if (!leftBehind) await refuseWriters(path, path)
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const claims = [handle]
  const release = async () => {
    for (const claim of claims) await claim.close()
  }
  try {
    claims.push(...(await claimStore(path, handle, write)))
    return { fds: claims.map(({ fd }) => fd), release }
  } catch (error) {
    await release()
    throw error
  }
}
