/** One ublk device and the threads that serve it: made anew, or taken over from a tresord that was killed. */
import { availableParallelism } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { ANY_ID, Attribute, Feature, State } from "../abi/ublk.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { NativeDisk } from "../native/disk.ts"
import { Mode, type NativeServer, type ServerCounters, ublk } from "../native/ublk.ts"
import {
  addDevice,
  deleteDevice,
  endRecovery,
  errnoOf,
  getParams,
  type Info,
  setParams,
  startDevice,
  startRecovery,
  stopDevice,
  updateSize,
} from "./control.ts"

/** Each queue is a thread. */
const QUEUES = 4
/** Requests of a queue at once: addon/ublk/server.h. */
const DEPTH = 128
/** Bytes, likewise. */
const REQUEST = 128 << 10
/** The kernel divides longer ones; one of a large file system may take seconds. */
const DISCARD = 256 << 20
/** Smaller ones give nothing back: blocks of the store. */
const GRANULARITY = 4096
/** How long the kernel may take to see that a server is dead, and to make nodes. */
const PATIENCE_MS = 10_000
const PAUSE_MS = 20
/**
 * When a server ends, Linux 6.12 cancels the commands of all queues once for each queue that it had (ublk_quiesce_work_fn),
 * and the last time may come when the next server has fetched its tags: it is given time, and is looked for.
 */
const LATE_MS = 20
const TRIES = 5
/** How long requests under way may keep a device from going, and who has it open. */
const REMOVE_MS = 10_000
/** How long requests under way may hold up a takeover, and how often is looked. */
const DRAIN_MS = 10_000
const LOOK_MS = 1

export interface DeviceOptions {
  readonly disk: NativeDisk
  readonly sectorSize: number
  /** Bytes. */
  readonly size: number
  readonly readOnly: boolean
  readonly discards: boolean
  /** By which it is found again. */
  readonly mark: bigint
  /** A request found no key. */
  readonly onStarved: () => void
  /** It is not served any more. */
  readonly onEnded: (errno: string) => void
}

/** Tries again while it fails with one of these errnos. */
async function patiently<T>(errnos: readonly string[], attempt: () => T | Promise<T>): Promise<T> {
  for (const began = Date.now(); ; await sleep(PAUSE_MS)) {
    try {
      return await attempt()
    } catch (error) {
      if (!errnos.includes(errnoOf(error)) || Date.now() - began > PATIENCE_MS) throw error
    }
  }
}

/** Rejects with `late` when it takes longer; it goes on then. */
export async function within<T>(ms: number, work: Promise<T>, late: TresorError): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late), ms)
  })
  try {
    return await Promise.race([work, passed])
  } finally {
    clearTimeout(timer)
  }
}

export class UblkDevice {
  readonly info: Info
  /** Bytes. */
  size: number
  readonly #server: NativeServer
  /** Rejects when the queues end before somebody stops them. */
  readonly #ended: Promise<never>
  #stopping = false

  private constructor(info: Info, size: number, options: DeviceOptions) {
    this.info = info
    this.size = size
    let end!: (error: Error) => void
    this.#ended = new Promise<never>((_, reject) => (end = reject))
    this.#ended.catch(() => {})
    this.#server = ublk.ublkOpen(
      options.disk,
      this.id,
      info.nr_hw_queues,
      info.queue_depth,
      options.discards && !options.readOnly,
      (what, errno) => {
        if (what === "starved") return options.onStarved()
        end(failed(`serve ${this.path}`, `a queue ended (${errno || "the device was stopped"})`))
        if (!this.#stopping) options.onEnded(errno)
      },
    )
  }

  get id(): number {
    return this.info.dev_id
  }

  get path(): string {
    return `/dev/ublkb${this.id}`
  }

  /** Its queues are served; nothing is to be seen of it yet. `announce`: called with its name before it appears. */
  static async create(options: DeviceOptions, announce: (path: string) => void): Promise<UblkDevice> {
    const info = await addDevice({
      dev_id: ANY_ID,
      nr_hw_queues: Math.min(QUEUES, availableParallelism()),
      queue_depth: DEPTH,
      max_io_buf_bytes: REQUEST,
      ublksrv_pid: process.pid,
      flags: BigInt(Feature.cmdIoctlEncode | Feature.userCopy | Feature.userRecovery | Feature.userRecoveryReissue),
      ublksrv_flags: options.mark,
    })
    let device: UblkDevice | null = null
    try {
      await setParams(info.dev_id, {
        attributes: Attribute.volatileCache | Attribute.fua | (options.readOnly ? Attribute.readOnly : 0),
        sectorSize: options.sectorSize,
        size: options.size,
        request: REQUEST,
        discards: options.discards && !options.readOnly ? DISCARD : 0,
        granularity: GRANULARITY,
      })
      device = await patiently(["ENOENT"], () => new UblkDevice(info, options.size, options))
      announce(device.path)
      await Promise.race([startDevice(info.dev_id), device.#ended])
      return device
    } catch (error) {
      device?.leave()
      await deleteDevice(info.dev_id).catch(() => {})
      throw error
    }
  }

  /** Its requests go on where they stopped. Throws BLOCK_IN_USE (exit 5) when it is served, BLOCK_EXISTS when it is unlike. */
  static async recover(info: Info, options: DeviceOptions): Promise<UblkDevice> {
    const id = info.dev_id
    const { basic } = await getParams(id)
    const size = Number(basic.dev_sectors) * 512
    const readOnly = (basic.attrs & Attribute.readOnly) !== 0
    if (2 ** basic.logical_bs_shift !== options.sectorSize || size > options.size || readOnly !== options.readOnly) {
      throw new TresorError(
        "BLOCK_EXISTS",
        Exit.busy,
        `Cannot take over /dev/ublkb${id}: it has ${size} bytes in sectors of ${2 ** basic.logical_bs_shift}${readOnly ? ", read-only" : ""}, which is not how it would be opened now; open it as before`,
      )
    }
    for (let tries = 1; ; tries++) {
      const device = await UblkDevice.#recover(info, size, options)
      if (device !== null) return device
      if (tries === TRIES)
        throw failed(`take over /dev/ublkb${id}`, "the kernel takes its requests back again and again")
    }
  }

  /** `null`: the kernel has taken tags back, as it may until the end of the server before is over. */
  static async #recover(info: Info, size: number, options: DeviceOptions): Promise<UblkDevice | null> {
    const id = info.dev_id
    try {
      await patiently(["EBUSY"], () => startRecovery(id))
    } catch (error) {
      if (errnoOf(error) !== "EBUSY") throw failed(`take over /dev/ublkb${id}`, `ublk answered ${errnoOf(error)}`)
      throw new TresorError(
        "BLOCK_IN_USE",
        Exit.busy,
        `Cannot take over /dev/ublkb${id}: process ${info.ublksrv_pid} still serves it; end that first`,
      )
    }
    const device = await patiently(["ENOENT", "EBUSY"], () => new UblkDevice(info, size, options)).catch((error) => {
      if (errnoOf(error) === "ENODEV") return null
      throw error
    })
    if (device === null) return null
    try {
      await sleep(LATE_MS)
      if (device.#whole) {
        await Promise.race([endRecovery(id), device.#ended])
        if (device.#whole) return device
      }
      device.leave()
      return null
    } catch (error) {
      device.leave()
      throw error
    }
  }

  get #whole(): boolean {
    return ublk.ublkWhole(this.#server)
  }

  get counters(): ServerCounters {
    return ublk.ublkCounters(this.#server)
  }

  setMode(mode: keyof typeof Mode): void {
    ublk.ublkSetMode(this.#server, Mode[mode])
  }

  /** Requests wait in the kernel from now on; false: what was under way has not ended in time. Sets the mode. */
  async drain(ms = DRAIN_MS): Promise<boolean> {
    this.setMode("drain")
    for (const began = Date.now(); !ublk.ublkDrained(this.#server); await sleep(LOOK_MS)) {
      if (Date.now() - began > ms) return false
    }
    return true
  }

  /** Larger from now on; the kernel tells who has it open. */
  async resize(size: number): Promise<void> {
    await updateSize(this.id, size)
    this.size = size
  }

  /**
   * It goes, with what was not written to it; nobody has it open. Throws BLOCK_FAILED when a disk that hangs keeps the
   * kernel from that: then it stays, without a server.
   */
  async remove(): Promise<void> {
    this.#stopping = true
    this.setMode("fail")
    try {
      await within(REMOVE_MS, stopDevice(this.id), late(`stop ${this.path}`, REMOVE_MS))
    } finally {
      ublk.ublkStop(this.#server)
    }
    await within(REMOVE_MS, deleteDevice(this.id), late(`remove ${this.path}`, REMOVE_MS))
  }

  /** It stays, and its requests wait for who recovers it: this tresord or the next. */
  leave(): void {
    this.#stopping = true
    ublk.ublkStop(this.#server)
  }
}

/** A device that no server started, or that was stopped: what is left of a killed tresord. */
export function isRemains({ state }: Info): boolean {
  return state === State.dead
}

function failed(what: string, fact: string): TresorError {
  return new TresorError("BLOCK_FAILED", Exit.wrongDevice, `Cannot ${what}: ${fact}`)
}

function late(what: string, ms: number): TresorError {
  return failed(what, `it is not done after ${ms / 1000} s`)
}
