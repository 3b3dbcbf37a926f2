/** The target of a new volume or header: a file to be made, or an existing one that may be overwritten. */
import { closeSync, fstatSync, ftruncateSync, openSync, rmSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { deviceNumber } from "../base/device-number.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { undoneWhenInterrupted } from "../base/interrupted.ts"
import { syncDirectory } from "../base/replace-file.ts"
import { formatSize } from "../base/size.ts"
import { checkNotOpen } from "../control/in-use.ts"
import { readBytes } from "../header/bytes.ts"
import { openForHeader } from "../header/open.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { attribute, deviceFolder } from "../store/block-device.ts"
import { identityOf } from "../store/held-path.ts"
import { signatureOn } from "../store/signature.ts"
import type { Store } from "../store/store.ts"

export interface Target {
  readonly path: string
  readonly kind: "new" | "file" | "device" | "nbd"
  /** Bytes it has, or will have. */
  readonly size: bigint
  /** Whether the file is to be made that long. */
  readonly truncate: boolean
  /** Physical sector, where one is known. */
  readonly sectorSize: number | null
  /** Of the file or device that was looked at; `null`: there was none, or it is an NBD export. */
  readonly identity: string | null
  /** Whatever is there may be overwritten. */
  readonly force: boolean
}

const identityOfOpen = (fd: number): string => identityOf(fstatSync(fd, { bigint: true }))

/** Bytes of a file that are looked at for data of no known format. */
const PROBE = 1 << 20

function refuse(path: string, fact: string): TresorError {
  return new TresorError(
    "TARGET_EXISTS",
    Exit.busy,
    `Cannot create a volume on ${path}: ${fact}; use --force to overwrite it`,
  )
}

/** Bytes; `null`: sysfs does not say. */
function physicalSectorSize(rdev: bigint): number | null {
  const device = deviceFolder(deviceNumber(rdev))
  if (device === null) return null
  const name = "queue/physical_block_size"
  // A partition has its disk's queue.
  const bytes = attribute(device, name) ?? attribute(dirname(device), name)
  return bytes === null ? null : Number(bytes)
}

/** Why what is there should stay; `null` when nothing is. A device may hold noise, a file of somebody's may not. */
async function found(device: Store, isFile: boolean): Promise<string | null> {
  const signature = await signatureOn(device, { luks: true })
  if (signature !== null) return `it holds ${signature}`
  const start = await readBytes(device, 0, Math.min(device.size, PROBE))
  return isFile && start.some((byte) => byte !== 0) ? "the file holds data" : null
}

/**
 * Looks at where a volume is to go and changes nothing. `size` is what was
 * asked for; without it, all there is. Throws TARGET_EXISTS (exit 5) without
 * `force`, TARGET_UNFIT (exit 4) for what holds no volume, SIZE_MISSING and
 * SIZE_FIXED (exit 1).
 */
export async function examineTarget(
  path: string,
  { size, force }: { readonly size: bigint | undefined; readonly force: boolean },
): Promise<Target> {
  const remote = isNbdUri(path)
  const stat = remote ? undefined : statSync(path, { bigint: true, throwIfNoEntry: false })
  if (!remote && stat === undefined) {
    if (size !== undefined) return { path, kind: "new", size, truncate: true, sectorSize: null, identity: null, force }
    throw new TresorError(
      "SIZE_MISSING",
      Exit.badArguments,
      `Cannot create ${path}: it does not exist; --size 1G makes a file of that size`,
    )
  }
  if (stat !== undefined && !stat.isFile() && !stat.isBlockDevice()) {
    const fact = stat.isDirectory() ? "it is a directory" : "it is neither a regular file nor a block device"
    throw new TresorError("TARGET_UNFIT", Exit.wrongDevice, `Cannot create a volume on ${path}: ${fact}`)
  }
  checkNotOpen(path, "create a volume on")
  const isFile = stat?.isFile() === true
  const device = await openForHeader(path, { readOnly: true, exclusive: !isFile })
  try {
    const present = BigInt(device.size)
    if (!isFile && size !== undefined && size !== present) {
      throw new TresorError(
        "SIZE_FIXED",
        Exit.badArguments,
        `Cannot make ${path} ${formatSize(size)}: it has ${formatSize(present)} and is used whole; leave --size out`,
      )
    }
    const fact = await found(device, isFile)
    if (fact !== null && !force) throw refuse(path, fact)
    if (size !== undefined && present !== 0n && size !== present && !force) {
      throw refuse(path, `the file has ${formatSize(present)}, not ${formatSize(size)}`)
    }
    return {
      path,
      kind: remote ? "nbd" : isFile ? "file" : "device",
      size: size ?? present,
      truncate: isFile && size !== undefined && size !== present,
      sectorSize: stat?.isBlockDevice() === true ? physicalSectorSize(stat.rdev) : null,
      identity: device.fd === null ? null : identityOfOpen(device.fd),
      force,
    }
  } finally {
    await device.close()
  }
}

function sizeRefused(path: string, size: bigint, error: NodeJS.ErrnoException): TresorError {
  const facts: Readonly<Record<string, string>> = {
    EFBIG: "its filesystem or ulimit -f allows no file that large",
    EINVAL: "its filesystem allows no file that large",
    ENOSPC: "no space is left",
  }
  const fact = facts[error.code ?? ""] ?? error.message
  return new TresorError("SIZE_REFUSED", Exit.wrongDevice, `Cannot make ${path} ${formatSize(size)}: ${fact}`, {
    cause: error,
  })
}

/**
 * Between the look and the write a passphrase is asked for: the path may lead elsewhere by then (in a directory of somebody
 * else's), and others may have written. Throws TARGET_CHANGED (exit 5).
 */
function checkSame(path: string, fd: number | null, identity: string | null): void {
  if (identity === null || (fd !== null && identityOfOpen(fd) === identity)) return
  throw new TresorError(
    "TARGET_CHANGED",
    Exit.busy,
    `Cannot create a volume on ${path}: it is another file or device than the one that was looked at; look who exchanged it`,
  )
}

/**
 * Makes or sizes the file of `target`, and runs `work` on it; a file made here goes when that fails or is interrupted. Throws
 * TARGET_CHANGED, TARGET_EXISTS (exit 5) when it is not as it was examined any more, and nothing is written.
 */
export async function withTarget<T>(target: Target, work: (device: Store) => Promise<T>): Promise<T> {
  if (target.kind !== "new") return onTarget(target, work)
  let made = false
  const undo = () => {
    if (made) rmSync(target.path, { force: true })
  }
  return undoneWhenInterrupted(undo, () =>
    onTarget(target, work, () => {
      made = true
    }),
  )
}

async function onTarget<T>(
  target: Target,
  work: (device: Store) => Promise<T>,
  isMade: () => void = () => {},
): Promise<T> {
  const { path, kind, force } = target
  const made = kind === "new"
  let { identity } = target
  if (made || target.truncate) {
    const fd = openSync(path, made ? "wx" : "r+", 0o600)
    if (made) isMade()
    try {
      if (made) identity = identityOfOpen(fd)
      else checkSame(path, fd, identity)
      ftruncateSync(fd, Number(target.size))
    } catch (error) {
      if (made) rmSync(path, { force: true })
      throw error instanceof TresorError ? error : sizeRefused(path, target.size, error as NodeJS.ErrnoException)
    } finally {
      closeSync(fd)
    }
  }
  try {
    const device = await openForHeader(path, { readOnly: false, exclusive: true })
    try {
      checkSame(path, device.fd, identity)
      const fact = made || force ? null : await found(device, kind === "file")
      if (fact !== null) throw refuse(path, fact)
      return await work(device)
    } finally {
      await device.close()
      if (made) syncDirectory(path)
    }
  } catch (error) {
    if (made) rmSync(path, { force: true })
    throw error
  }
}
