/** The disks on which a file, or a block device, lies: through partitions, device mapper, RAID and loop devices. */
import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs"
import { basename, dirname } from "node:path"

const DEPTH = 16

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return null
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** "8:1" */
function numbers(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

function under(entry: string, depth: number): string[] {
  if (depth > DEPTH) return []
  let folder: string
  try {
    folder = realpathSync(entry)
  } catch {
    return []
  }
  if (read(`${folder}/partition`) !== null) folder = dirname(folder)
  const slaves = list(`${folder}/slaves`)
  if (slaves.length > 0) return slaves.flatMap((name) => under(`/sys/class/block/${name}`, depth + 1))
  const backing = read(`${folder}/loop/backing_file`)
  return backing === null ? [basename(folder)] : lookUp(backing, depth + 1)
}

/** A filesystem without a device of its own (btrfs, overlay, tmpfs): the source it was mounted from, if that is one. */
function sourceOf(device: string): string | null {
  for (const line of (read("/proc/self/mountinfo") ?? "").split("\n")) {
    const [left = "", right = ""] = line.split(" - ")
    const source = right.split(" ")[1] ?? ""
    if (left.split(" ")[2] === device && source.startsWith("/dev/")) return source
  }
  return null
}

function lookUp(path: string, depth: number): string[] {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat === undefined || depth > DEPTH) return []
  const device = numbers(stat.isBlockDevice() ? stat.rdev : stat.dev)
  if (!device.startsWith("0:")) return under(`/sys/dev/block/${device}`, depth)
  const source = sourceOf(device)
  return source === null ? [] : lookUp(source, depth + 1)
}

/** Names as in /sys/block; none when the path is not there, or lies in memory or on a network. */
export function disksOf(path: string): readonly string[] {
  try {
    return [...new Set(lookUp(path, 0))].sort()
  } catch {
    return []
  }
}

/** Whether two paths share a disk; null when either's is not known. */
export function sameDisk(a: readonly string[], b: readonly string[]): boolean | null {
  return a.length === 0 || b.length === 0 ? null : a.some((disk) => b.includes(disk))
}
