/** The page cache as a benchmark of the disk needs it: empty, and over a disk at all. */
import { execFileSync } from "node:child_process"
import { closeSync, constants, openSync, statfsSync, writeSync } from "node:fs"
import { getSystemErrorMessage } from "node:util"

const DROP_CACHES = "/proc/sys/vm/drop_caches"
/** Clean pages, dentries and inodes. */
const EVERYTHING = "3"
/** statfs(2): file systems that have no disk. */
const IN_MEMORY = new Map([
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
])

/**
 * Writes everything to the disk and empties the page cache; what is locked in memory stays. `path` is another one
 * in tests. Throws what to do where that is not allowed.
 */
export function dropCaches(path = DROP_CACHES): void {
  execFileSync("sync")
  try {
    // Not O_CREAT: a file that is not there is not made; not O_RDWR: this one cannot be read, even by root.
    const file = openSync(path, constants.O_WRONLY)
    try {
      writeSync(file, EVERYTHING)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException
    const fact = errno === undefined ? String(error) : getSystemErrorMessage(errno)
    throw new Error(`Cannot empty the page cache: ${path}: ${fact}; run the benchmark as root, outside a container`)
  }
}

/** Throws where a folder lies in memory: nothing there is read from a disk. */
export function requireDisk(folder: string): void {
  const name = IN_MEMORY.get(statfsSync(folder).type)
  if (name !== undefined) {
    throw new Error(`Cannot measure the disk in ${folder}: it is ${name}; name a folder on a disk with --folder`)
  }
}
