/** Facts of a block device from sysfs: a partition's disk, a loop device's file. */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { dirname } from "node:path"
import { deviceNumber } from "../base/device-number.ts"

export interface BlockDevice {
  /** Bytes; offsets and lengths of discards are multiples of it. */
  readonly logicalBlock: number
  /** Of a loop device, or a partition of one: its name, backing file, and where in that it begins, in bytes. */
  readonly loop: { readonly device: string; readonly file: string; readonly offset: number } | null
}

/** sysfs counts in these, whatever the device's sectors are. */
const UNIT = 512n

/** Absolute, without links; `null`: sysfs does not know it. */
export function deviceFolder(number: string, sys = "/sys"): string | null {
  try {
    return realpathSync(`${sys}/dev/block/${number}`)
  } catch {
    return null
  }
}

export function attribute(folder: string, name: string): string | null {
  try {
    return readFileSync(`${folder}/${name}`, "utf8").trimEnd()
  } catch {
    return null
  }
}

/** What a device's bytes are, from `offset` on: a file's, or the disk's of a partition. */
export type Window =
  | { readonly file: string; readonly offset: bigint }
  | { readonly disk: string; readonly offset: bigint }

/** `null`: neither a loop device nor a partition. */
export function windowOf(folder: string): Window | null {
  const file = attribute(folder, "loop/backing_file")
  if (file !== null) return { file, offset: BigInt(attribute(folder, "loop/offset") ?? "0") }
  if (attribute(folder, "partition") === null) return null
  return { disk: dirname(folder), offset: BigInt(attribute(folder, "start") ?? "0") * UNIT }
}

function known(rdev: number): string {
  const number = deviceNumber(rdev)
  const folder = deviceFolder(number)
  if (folder === null) throw Object.assign(new Error(`sysfs has no block device ${number}`), { code: "ENODEV" })
  return folder
}

function loopBelow(folder: string): BlockDevice["loop"] {
  const window = windowOf(folder)
  if (window === null) return null
  if ("disk" in window) {
    const loop = loopBelow(window.disk)
    return loop && { ...loop, offset: loop.offset + Number(window.offset) }
  }
  const name = /^DEVNAME=(.*)$/m.exec(attribute(folder, "uevent") ?? "")?.[1] ?? ""
  return { device: `/dev/${name}`, file: window.file, offset: Number(window.offset) }
}

export function blockDevice(rdev: number): BlockDevice {
  const folder = known(rdev)
  // A partition has its disk's queue.
  const queue = existsSync(`${folder}/queue`) ? "queue" : "../queue"
  return {
    logicalBlock: Number(attribute(folder, `${queue}/logical_block_size`) ?? 512),
    loop: loopBelow(folder),
  }
}

export function blockDeviceSize(rdev: number): number {
  return Number(readFileSync(`${known(rdev)}/size`, "latin1")) * Number(UNIT)
}

export function isWriteProtected(rdev: number): boolean {
  return readFileSync(`${known(rdev)}/ro`, "latin1").trimEnd() === "1"
}
