/**
 * Resolves the location of bytes of a path: through symbolic and hard links, loop
 * devices, partitions and dm devices in one piece, down to one file or disk and an offset in it. Two
 * paths that overlap there are one place, whatever they are called.
 */
import { spawnSync } from "node:child_process"
import { realpathSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { deviceNumber } from "../base/device-number.ts"
import { programEnvironment } from "../base/programs.ts"
import { isNbdUri, parseNbdUri } from "../nbd/uri.ts"
import { attribute, deviceFolder, windowOf } from "./block-device.ts"

export interface Place {
  /** Equal for what is the same file, disk or export. */
  readonly key: string
  /** Byte of it at which the path's first byte lies. */
  readonly start: bigint
}

/** Loops on loops end somewhere; a cycle is impossible, a file that was replaced meanwhile is not. */
const LAYERS = 16

const SECTOR = 512n

/** Where the facts come from; tests have their own. */
export interface System {
  readonly sys: string
  /** The table of a dm device, "8:17", as dmsetup(8) prints it; "" when it cannot be had. */
  readonly table: (number: string) => string
}

const SYSTEM: System = {
  sys: "/sys",
  table(number) {
    const [major = "", minor = ""] = number.split(":")
    return (
      spawnSync("dmsetup", ["table", "-j", major, "-m", minor], { encoding: "utf8", env: programEnvironment() })
        .stdout ?? ""
    )
  },
}

/** Of a dm device that lies in one piece on one other. The kernel's dm-linear and dm-crypt say what stands where. */
function dmWindow(table: string): { readonly number: string; readonly offset: bigint } | null {
  const [, number, offset] = /^0 \d+ (?:linear|crypt \S+ \S+ \d+) (\d+:\d+) (\d+)(?: [^\n]*)?\n?$/.exec(table) ?? []
  return number === undefined ? null : { number, offset: BigInt(offset!) * SECTOR }
}

/** `null`: there is nothing at `path`, or it cannot be looked at. */
export function placeOf(path: string, { sys, table }: System = SYSTEM): Place | null {
  if (isNbdUri(path)) return { key: `nbd:${JSON.stringify(parseNbdUri(path))}`, start: 0n }
  let start = 0n
  /** A path, or the number of a device. */
  let current: { readonly path: string } | { readonly number: string } = { path }
  for (let layer = 0; layer < LAYERS; layer++) {
    let number: string
    if ("path" in current) {
      const stat = statSync(current.path, { bigint: true, throwIfNoEntry: false })
      if (stat === undefined) return null
      if (!stat.isBlockDevice()) return { key: `file:${stat.dev}:${stat.ino}`, start }
      number = deviceNumber(stat.rdev)
    } else number = current.number
    const folder = deviceFolder(number, sys)
    const window = folder === null ? null : windowOf(folder)
    if (window !== null) {
      start += window.offset
      const disk = "disk" in window ? attribute(window.disk, "dev") : null
      if ("file" in window) current = { path: window.file }
      else if (disk !== null) current = { number: disk }
      else return null
      continue
    }
    const below = folder !== null && attribute(folder, "dm/uuid") !== null ? dmWindow(table(number)) : null
    if (below === null) return { key: `device:${number}`, start }
    start += below.offset
    current = { number: below.number }
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
  system: System = SYSTEM,
): boolean {
  const [first, second] = [placeOf(a.path, system), placeOf(b.path, system)]
  if (first === null || second === null || first.key !== second.key) return false
  const [startA, startB] = [first.start + a.offset, second.start + b.offset]
  const endsBefore = (start: bigint, size: bigint | null, other: bigint) => size !== null && start + size <= other
  return !endsBefore(startA, a.size, startB) && !endsBefore(startB, b.size, startA)
}
