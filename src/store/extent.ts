/**
 * Where bytes of a path really lie: through symbolic and hard links, loop
 * devices and partitions, down to one file or disk and an offset in it. Two
 * paths that overlap there are one place, whatever they are called.
 */
import { readFileSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { deviceNumber } from "../base/device-number.ts"
import { isNbdUri, parseNbdUri } from "../nbd/uri.ts"

export interface Place {
  /** Equal for what is the same file, disk or export. */
  readonly key: string
  /** Byte of it at which the path's first byte lies. */
  readonly start: bigint
}

/** Loops on loops end somewhere; a cycle is impossible, a file that was replaced meanwhile is not. */
const LAYERS = 16

const SECTOR = 512n

function sysfs(device: string, name: string): string | null {
  try {
    return readFileSync(`${device}/${name}`, "utf8").trimEnd()
  } catch {
    return null
  }
}

/** What a block device is a window of; `null`: it is a disk of its own. */
function below(
  device: string,
): { readonly path: string; readonly offset: bigint } | { readonly disk: string; readonly offset: bigint } | null {
  const file = sysfs(device, "loop/backing_file")
  if (file !== null) return { path: file, offset: BigInt(sysfs(device, "loop/offset") ?? "0") }
  if (sysfs(device, "partition") === null) return null
  return { disk: dirname(device), offset: BigInt(sysfs(device, "start") ?? "0") * SECTOR }
}

/** `null`: there is nothing at `path`, or it cannot be looked at. */
export function placeOf(path: string): Place | null {
  if (isNbdUri(path)) return { key: `nbd:${JSON.stringify(parseNbdUri(path))}`, start: 0n }
  let start = 0n
  let current = path
  for (let layer = 0; layer < LAYERS; layer++) {
    const stat = statSync(current, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) return null
    if (!stat.isBlockDevice()) return { key: `file:${stat.dev}:${stat.ino}`, start }
    let device: string
    try {
      device = realpathSync(`/sys/dev/block/${deviceNumber(stat.rdev)}`)
    } catch {
      return { key: `device:${stat.rdev}`, start }
    }
    let next = below(device)
    if (next !== null && "disk" in next) {
      start += next.offset
      device = next.disk
      next = below(device)
    }
    if (next === null || !("path" in next)) return { key: `device:${sysfs(device, "dev") ?? stat.rdev}`, start }
    start += next.offset
    current = next.path
  }
  return null
}

/** Whether two paths are one, also where nothing is yet. */
export function isSamePath(a: string, b: string): boolean {
  const real = (path: string) => {
    try {
      return join(realpathSync(dirname(resolve(path))), basename(path))
    } catch {
      return resolve(path)
    }
  }
  return real(a) === real(b)
}

/** Whether two ranges of bytes share one; `null` is "to the end". Unknown places are taken for different ones. */
export function overlap(
  a: { readonly path: string; readonly offset: bigint; readonly size: bigint | null },
  b: { readonly path: string; readonly offset: bigint; readonly size: bigint | null },
): boolean {
  const [first, second] = [placeOf(a.path), placeOf(b.path)]
  if (first === null || second === null || first.key !== second.key) return false
  const [startA, startB] = [first.start + a.offset, second.start + b.offset]
  const endsBefore = (start: bigint, size: bigint | null, other: bigint) => size !== null && start + size <= other
  return !endsBefore(startA, a.size, startB) && !endsBefore(startB, b.size, startA)
}
