/** What sysfs says of a block device. */
import { existsSync, readFileSync } from "node:fs"
import { deviceNumber } from "../base/device-number.ts"

export interface BlockDevice {
  /** Bytes; offsets and lengths of discards are multiples of it. */
  readonly logicalBlock: number
  /** Of a whole loop device: its name, backing file, and where in that it begins, in bytes. */
  readonly loop: { readonly device: string; readonly file: string; readonly offset: number } | null
}

/** `rdev`: as stat(2) gives it. */
function folder(rdev: number): string {
  return `/sys/dev/block/${deviceNumber(rdev)}`
}

export function blockDevice(rdev: number): BlockDevice {
  const path = folder(rdev)
  const read = (name: string): string => readFileSync(`${path}/${name}`, "utf8").trimEnd()
  // A partition has its disk's queue.
  const queue = existsSync(`${path}/queue`) ? "queue" : "../queue"
  const logicalBlock = existsSync(`${path}/${queue}`) ? Number(read(`${queue}/logical_block_size`)) : 512
  const looped = existsSync(`${path}/loop/backing_file`)
  const name = /^DEVNAME=(.*)$/m.exec(read("uevent"))?.[1] ?? ""
  return {
    logicalBlock,
    loop: looped
      ? { device: `/dev/${name}`, file: read("loop/backing_file"), offset: Number(read("loop/offset")) }
      : null,
  }
}

/** The kernel counts a block device in 512-byte units, whatever its sectors are. */
export function blockDeviceSize(rdev: number): number {
  return Number(readFileSync(`${folder(rdev)}/size`, "latin1")) * 512
}

export function isWriteProtected(rdev: number): boolean {
  return readFileSync(`${folder(rdev)}/ro`, "latin1").trimEnd() === "1"
}
