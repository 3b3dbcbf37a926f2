/** /dev/ublk-control as tresord uses it: devices are added, started, stopped and found again (abi/ublk.h). */
import { existsSync, readdirSync } from "node:fs"
import { type Decoded, decode, type Encodable, encode } from "../abi/struct.ts"
import { Attribute, Command, deviceInfo, Feature, params, Type } from "../abi/ublk.ts"
import { exitOfErrno } from "../base/errno.ts"
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { tryRun } from "../base/programs.ts"
import { ublk } from "../native/ublk.ts"

const CONTROL = "/dev/ublk-control"
const DEVICES = "/sys/class/ublk-char"
const NOTHING = new Uint8Array(0)

export type Info = Decoded<typeof deviceInfo>
export type Params = Decoded<typeof params>

export const errnoOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "EIO"

/** What no kernel before Linux 6.5 has. */
const NEEDED = Feature.cmdIoctlEncode | Feature.userCopy | Feature.userRecovery | Feature.userRecoveryReissue

function refuse(code: ErrorCode, exit: TresorError["exitCode"], what: string, fact: string): TresorError {
  return new TresorError(code, exit, `Cannot ${what}: ${fact}`)
}

/** Why this machine has no block devices by ublk, and what helps; `null`: it has. */
export async function ublkFault(): Promise<{ readonly fact: string; readonly remedy: string } | null> {
  if (!existsSync(CONTROL)) await tryRun("modprobe", ["ublk_drv"]).catch(() => null)
  if (!existsSync(CONTROL)) {
    return {
      fact: `this kernel has no ublk (${CONTROL} does not exist)`,
      remedy: "use a kernel with ublk_drv (Linux 6.5 or newer)",
    }
  }
  try {
    const found = await features()
    if ((found & NEEDED) === NEEDED) return null
    return { fact: "this kernel's ublk cannot copy data or recover", remedy: "use Linux 6.5 or newer" }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === "EACCES" || errno === "EPERM") {
      return {
        fact: `ublk or io_uring is refused (${errno})`,
        remedy: "run as root, with sysctl kernel.io_uring_disabled below 2",
      }
    }
    if (errno === "ENOSYS")
      return { fact: "io_uring is refused (ENOSYS)", remedy: "allow it in the kernel or its seccomp filter" }
    return { fact: `this kernel's ublk is too old (${errno})`, remedy: "use Linux 6.5 or newer" }
  }
}

/** Bits of Feature. Rejects with an errno's name as `code`. */
export async function features(): Promise<number> {
  const bytes = await ublk.ublkControl(Command.getFeatures, 0, 0, new Uint8Array(8))
  return Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true) & 0xffffffffn)
}

/** Whether a device that is in use can change its size. */
export async function canResize(): Promise<boolean> {
  return ((await features()) & Feature.canUpdateSize) !== 0
}

/** Sends a command whose errors are told to people. */
async function send(what: string, operation: number, id: number, data = 0, payload = NOTHING): Promise<Uint8Array> {
  try {
    return await ublk.ublkControl(operation, id, data, payload)
  } catch (error) {
    const errno = errnoOf(error)
    throw refuse("BLOCK_FAILED", exitOfErrno(errno, Exit.wrongDevice), what, `ublk answered ${errno}`)
  }
}

/** The kernel chooses the id, and may lower queues and depth. */
export async function addDevice(info: Encodable<typeof deviceInfo>): Promise<Info> {
  const payload = new Uint8Array(deviceInfo.size)
  encode(deviceInfo, info, payload)
  return decode(deviceInfo, await send("add a block device", Command.addDev, info.dev_id ?? 0, 0, payload))
}

export interface Shape {
  readonly attributes: number
  readonly sectorSize: number
  /** Bytes. */
  readonly size: number
  /** Bytes of a request at most. */
  readonly request: number
  /** Bytes of a discard at most; 0: there are none. */
  readonly discards: number
  /** Bytes. */
  readonly granularity: number
}

export async function setParams(id: number, shape: Shape): Promise<void> {
  const shift = Math.log2(shape.sectorSize)
  // Pages of the store's, and of most file systems.
  const preferred = Math.max(shift, 12)
  const payload = new Uint8Array(params.size)
  encode(
    params,
    {
      len: params.size,
      types: Type.basic | Type.discard,
      basic: {
        attrs: shape.attributes,
        logical_bs_shift: shift,
        physical_bs_shift: preferred,
        io_opt_shift: preferred,
        io_min_shift: preferred,
        max_sectors: shape.request / 512,
        dev_sectors: BigInt(shape.size / 512),
      },
      discard: {
        discard_granularity: shape.granularity,
        max_discard_sectors: shape.discards / 512,
        max_write_zeroes_sectors: (shape.attributes & Attribute.readOnly) !== 0 ? 0 : shape.request / 512,
        max_discard_segments: 1,
      },
    },
    payload,
  )
  await send("describe the block device", Command.setParams, id, 0, payload)
}

export async function getParams(id: number): Promise<Params> {
  const payload = new Uint8Array(params.size)
  encode(params, { len: params.size }, payload)
  return decode(params, await send("read the block device's parameters", Command.getParams, id, 0, payload))
}

/** Resolves when it can be used: its queues are served before. */
export async function startDevice(id: number): Promise<void> {
  await send("start the block device", Command.startDev, id, process.pid)
}

/** Throws Node's errors: EBUSY until the kernel has found its server dead. */
export async function startRecovery(id: number): Promise<void> {
  await ublk.ublkControl(Command.startUserRecovery, id, 0, NOTHING)
}

export async function endRecovery(id: number): Promise<void> {
  await send("take over the block device", Command.endUserRecovery, id, process.pid)
}

/** All its requests have ended, or will with an error. */
export async function stopDevice(id: number): Promise<void> {
  await send("stop the block device", Command.stopDev, id)
}

/** Waits for the last process that has it open. */
export async function deleteDevice(id: number): Promise<void> {
  await send("remove the block device", Command.delDev, id)
}

export async function updateSize(id: number, size: number): Promise<void> {
  await send("resize the block device", Command.updateSize, id, size / 512)
}

/** Devices of this machine that were added with this mark. */
export async function findDevices(mark: bigint): Promise<Info[]> {
  const names = existsSync(DEVICES) ? readdirSync(DEVICES) : []
  const found: Info[] = []
  for (const name of names) {
    const id = Number(/^ublkc(\d+)$/.exec(name)?.[1] ?? Number.NaN)
    if (Number.isNaN(id)) continue
    // Another user's, or gone meanwhile.
    const bytes = await ublk.ublkControl(Command.getDevInfo, id, 0, new Uint8Array(deviceInfo.size)).catch(() => null)
    const info = bytes === null ? null : decode(deviceInfo, bytes)
    if (info !== null && info.ublksrv_flags === mark && info.owner_uid === process.getuid!()) found.push(info)
  }
  return found
}
