/**
 * A file or device that is opened again and again and must stay the same one,
 * wherever its path leads by then: deleted, replaced, or hidden by a mount.
 */
import { spawn } from "node:child_process"
import { closeSync, fstatSync, openSync, statSync } from "node:fs"
import { deviceNumber } from "../base/device-number.ts"
import { programEnvironment } from "../base/programs.ts"
import { deviceFolder } from "./block-device.ts"

/** Linux; Node does not name it. Neither reads, writes, nor counts as one who does. */
const O_PATH = 0o10000000

/** Equal for what is the same file or device; decimal. */
export function identityOf(stat: { dev: bigint; ino: bigint; rdev: bigint; isBlockDevice(): boolean }): string {
  // udev may create a device's node again.
  return stat.isBlockDevice() ? `device ${stat.rdev}` : `file ${stat.dev} ${stat.ino}`
}

export class HeldPath {
  readonly path: string
  readonly identity: string
  readonly #sys: string
  /** Opened with O_PATH; closed by `close`. */
  readonly fd: number
  /** Number of the block device with the bytes; `null`: a file system on none, or on several. */
  readonly #device: string | null

  /** `fd`: of another process that held it; this one's from now on. Throws Node's errors. */
  constructor(path: string, sys = "/sys", fd = openSync(path, O_PATH)) {
    this.path = path
    this.fd = fd
    const stat = fstatSync(fd, { bigint: true })
    this.identity = identityOf(stat)
    const device = deviceNumber(stat.isBlockDevice() ? stat.rdev : stat.dev)
    this.#sys = sys
    this.#device = deviceFolder(device, sys) === null ? null : device
  }

  /** The machine has that block device no more: it was unplugged, or the server that had it is gone. */
  get removed(): boolean {
    return this.#device !== null && deviceFolder(this.#device, this.#sys) === null
  }

  /** A path of this process only, and until `close`. */
  get at(): string {
    return `/proc/self/fd/${this.fd}`
  }

  close(): void {
    closeSync(this.fd)
  }
}

/** What a look at a path may take. */
const LOOK_MS = 2000

/**
 * Whether stat(2) of a path ends: on a filesystem whose server hangs (FUSE, NFS) it waits without limit, and who waits
 * is another process.
 */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn("stat", ["--dereference", "--", path], { stdio: "ignore", env: programEnvironment() })
    const late = setTimeout(() => {
      child.kill("SIGKILL")
      child.unref()
      resolve(false)
    }, LOOK_MS)
    const done = () => {
      clearTimeout(late)
      resolve(true)
    }
    child.on("exit", done)
    child.on("error", done)
  })
}

/** What became of the path of something that is open; `null`: it still leads there, or cannot be looked at. */
export function fateOf(path: string, identity: string): "deleted" | "replaced" | null {
  try {
    return identityOf(statSync(path, { bigint: true })) === identity ? null : "replaced"
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === "ENOENT" || code === "ENOTDIR" ? "deleted" : null
  }
}
