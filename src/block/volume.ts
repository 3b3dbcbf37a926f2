/**
 * The plaintext side of a volume as a block device of the kernel's, by ublk: /dev/tresor/NAME. It appears with the
 * first unlock; a device that a killed tresord left behind is taken over, and its I/O goes on where it stopped.
 */
import { createHash } from "node:crypto"
import { readdirSync, realpathSync, statSync } from "node:fs"
import { basename } from "node:path"
import { deviceNumber } from "../base/device-number.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { serial } from "../base/serial.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { Segment } from "../luks2/types.ts"
import type { Mode, ServerCounters } from "../native/ublk.ts"
import { isNbdUri } from "../nbd/uri.ts"
import type { DiskStatus } from "../store/disk.ts"
import type { OpenStoreOptions } from "../store/open.ts"
import type { Store } from "../store/store.ts"
import { openVolumeOn } from "../volume/open.ts"
import type { Volume } from "../volume/volume.ts"
import type { VolumeState } from "../volume/volume-key.ts"
import { Claim, STALL_MS } from "./claim.ts"
import { canResize, deleteDevice, findDevices, type Info, stopDevice, ublkFault } from "./control.ts"
import { type DeviceOptions, isRemains, UblkDevice } from "./device.ts"
import { hasLinear, Linear } from "./linear.ts"
import { announce, checkLink, linkOf, makeLink, removeLink } from "./link.ts"

export interface BlockVolumeOptions extends OpenStoreOptions {
  readonly name: string
  readonly path: string
  /** Of the volume. */
  readonly uuid: string
  readonly segment: Segment
  readonly discards: boolean
  /** How long I/O waits while locked; `null`: for ever. */
  readonly keyGraceMs: number | null
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}

const MODES: Readonly<Record<VolumeState, keyof typeof Mode>> = {
  ready: "serve",
  locked: "hold",
  failed: "fail",
  closing: "fail",
  closed: "fail",
}

/** What there is of a volume's device, made by another tresord. */
interface Found {
  /** The device before Linux 6.16 has a mapping over it, where dmsetup is. */
  readonly over: boolean
  readonly linear: Linear | null
  readonly info: Info | null
}

/** The device's, in 64 bits that the kernel keeps: half of them the name's, half the volume's. */
function markOf(name: string, uuid: string): bigint {
  const half = (text: string) => BigInt(createHash("sha256").update(text).digest().readUInt32LE(0))
  return (half(`name ${name}`) << 32n) | half(`uuid ${uuid}`)
}

/** Whether the store is the device that would be taken over, or the mapping over it. */
async function isOwn(path: string, mark: bigint): Promise<boolean> {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat?.isBlockDevice() !== true) return false
  const names = (await findDevices(mark)).map((each) => `ublkb${each.dev_id}`)
  const number = deviceNumber(stat.rdev)
  const below = readdirSync(`/sys/dev/block/${number}/slaves`)
  return [basename(realpathSync(`/sys/dev/block/${number}`)), ...below].some((each) => names.includes(each))
}

function sum(a: ServerCounters | null, b: ServerCounters | null): ServerCounters | null {
  if (a === null || b === null) return a ?? b
  const names = Object.keys(a) as (keyof ServerCounters)[]
  return Object.fromEntries(names.map((name) => [name, a[name] + b[name]])) as unknown as ServerCounters
}

export class BlockVolume {
  readonly #options: BlockVolumeOptions
  readonly #volume: Volume
  #device: UblkDevice | null = null
  /** Over the device, which cannot change its size; `null`: it can, or there is no dmsetup. */
  #linear: Linear | null = null
  /** Of devices that are gone. */
  #counted: ServerCounters | null = null
  /** One change of the device at a time. */
  readonly #queue = serial()
  /** Another tresord may be taking the device over: the mode is not the volume's. */
  #held = false
  /** The device that was let go of. */
  #left: Info | null = null
  /** Another tresord's, before it is ours. */
  #found: Found | null = null
  /** What was written to the device did not all reach the volume. */
  #unwritten: Error | null = null
  /** Of a close that was given up: resolves when nothing of it has the device open. */
  #givenUp = Promise.resolve()
  /** The device stays without us: its store hangs. */
  #stalled: TresorError | null = null

  private constructor(options: BlockVolumeOptions, volume: Volume) {
    this.#options = options
    this.#volume = volume
    volume.onChange(() => this.#setMode())
    volume.onQuietOver(() => this.#setMode())
  }

  /**
   * Claims the store, as a volume over NBD does; the device comes with the first unlock. Throws USAGE, NOT_ROOT,
   * BLOCK_UNAVAILABLE, BLOCK_EXISTS, and as openVolumeOn.
   */
  static async open(options: BlockVolumeOptions): Promise<BlockVolume> {
    const { name, path, segment, uuid } = options
    const refuse = (code: "USAGE" | "NOT_ROOT" | "BLOCK_UNAVAILABLE", fact: string) => {
      const exit = code === "USAGE" ? Exit.badArguments : code === "NOT_ROOT" ? Exit.denied : Exit.wrongDevice
      return new TresorError(code, exit, `Cannot open ${path} with --block: ${fact}`)
    }
    if (isNbdUri(path)) throw refuse("USAGE", "it is neither a file nor a block device; open it over NBD")
    if (process.getuid!() !== 0)
      throw refuse("NOT_ROOT", "block devices are root's alone; run as root, or open it over NBD")
    checkLink(name)
    if (await isOwn(path, markOf(name, uuid))) throw refuse("USAGE", "it is this volume's own block device")
    const fault = await ublkFault()
    if (fault !== null) throw refuse("BLOCK_UNAVAILABLE", `${fault.fact}; ${fault.remedy}, or open it over NBD`)
    const volume = await openVolumeOn(path, segment, { ...options, pastCache: true })
    return new BlockVolume(options, volume)
  }

  #setMode(): void {
    if (!this.#held) this.#device?.setMode(MODES[this.#volume.state])
  }

  get state(): VolumeState {
    return this.#volume.state
  }

  /** Bytes. */
  get size(): number {
    return this.#device?.size ?? this.#volume.size
  }

  get sectorSize(): number {
    return this.#volume.sectorSize
  }

  get readOnly(): boolean {
    return this.#volume.readOnly
  }

  get discards(): boolean {
    return this.#volume.discards
  }

  get counters(): Record<string, number> {
    return { ...sum(this.#counted, this.#device?.counters ?? null) }
  }

  get diskStatus(): DiskStatus | null {
    return this.#volume.diskStatus
  }

  /** The kernel's name of the device; `null`: there is none now. */
  get device(): string | null {
    return this.#device?.path ?? null
  }

  onChange(listener: () => void): () => void {
    return this.#volume.onChange(listener)
  }

  /** As Volume has it. */
  get ciphertext(): Store {
    return this.#volume.ciphertext
  }

  quiesce(start: number, end: number): ReturnType<Volume["quiesce"]> {
    return this.#volume.quiesce(start, end)
  }

  /** Gives the key, and makes the device or takes it over; I/O that waits goes on. */
  unlock(enclave: Enclave, handle: VolumeHandle): Promise<void> {
    return this.#queue(async () => {
      this.#volume.unlock(enclave, handle)
      if (this.#device !== null) return
      try {
        await this.#appear()
      } catch (error) {
        this.#volume.lock()
        throw error
      }
    })
  }

  #deviceOptions(size: number): DeviceOptions {
    const { name, uuid, warn } = this.#options
    const disk = this.#volume.storeDisk
    if (disk === null) throw new Error("a file without transfers")
    return {
      disk: disk.native,
      sectorSize: this.sectorSize,
      size,
      readOnly: this.readOnly,
      discards: this.discards,
      mark: markOf(name, uuid),
      onStarved: () => this.#starved(),
      onEnded: (errno: string) => warn("the block device is not served any more", { name, errno }),
    }
  }

  async #appear(): Promise<void> {
    const options = this.#deviceOptions(this.#volume.size)
    const found = await this.#find(options.mark)
    if (found.info !== null) {
      await this.#recover(options, found, found.info)
      this.#options.warn("took over the block device of a tresord that was killed", { device: this.#device!.path })
      return
    }
    const { name } = this.#options
    this.#device = await UblkDevice.create(options, (path) => found.over || announce(name, path))
    await this.#show(found)
  }

  async #find(mark: bigint): Promise<Found> {
    const { name, uuid } = this.#options
    const over = !(await canResize()) && hasLinear()
    const found = over ? await Linear.find(uuid, name, this.readOnly) : null
    const info = await this.#leftBehind(await findDevices(mark), found?.below ?? (() => true))
    return { over, linear: found?.linear ?? null, info }
  }

  async #recover(options: DeviceOptions, found: Found, info: Info): Promise<void> {
    this.#device = await UblkDevice.recover(info, options)
    await this.#show(found)
  }

  /** Where people look for it. */
  async #show({ over, linear }: Found): Promise<void> {
    const { name, uuid } = this.#options
    const { path, size } = this.#device!
    await linear?.resume()
    this.#linear = linear ?? (over ? await Linear.create(uuid, name, path, size, this.readOnly) : null)
    makeLink(name, this.#visible)
  }

  /** The one that is in use; others, of a resize or a start that was not ended, are removed. */
  async #leftBehind(all: readonly Info[], used: (device: string) => boolean): Promise<Info | null> {
    let standing: Info | null = null
    for (const info of all) {
      if (!isRemains(info) && used(`/dev/ublkb${info.dev_id}`)) {
        standing = info
        continue
      }
      if (!isRemains(info)) await stopDevice(info.dev_id)
      await deleteDevice(info.dev_id)
    }
    return standing
  }

  /** What the link leads to. */
  get #visible(): string {
    return this.#linear?.path ?? this.#device!.path
  }

  /** Its enclave may be lost: notices now what the next I/O would. */
  lost(): void {
    this.#volume.lost()
  }

  /** A request found no key: the enclave is lost, or was replaced meanwhile. */
  #starved(): void {
    this.#volume.lost()
    this.#setMode()
  }

  /** Wipes the key; I/O waits in the kernel. */
  lock(): void {
    this.#volume.lock()
  }

  /** While locked: what waits in the kernel ends in EIO. */
  fail(): void {
    this.#volume.fail()
  }

  /** After the store has grown; the new size in bytes. */
  resize(): Promise<number> {
    return this.#queue(async () => {
      const size = await this.#volume.resize()
      const device = this.#device
      if (device === null || device.size === size) return size
      if (this.#linear !== null) await this.#replace(device, this.#linear, size)
      else if (await canResize()) await device.resize(size)
      else {
        const { name } = this.#options
        throw new TresorError(
          "TOOL_MISSING",
          Exit.badArguments,
          `Cannot resize ${name} while it is open: this kernel's ublk has no resize; install dmsetup, close and open it`,
        )
      }
      return size
    })
  }

  /** A device of the new size takes the place of the old one below the mapping. */
  async #replace(old: UblkDevice, linear: Linear, size: number): Promise<void> {
    if (this.#volume.state !== "ready") {
      const { name } = this.#options
      throw new TresorError(
        "VOLUME_LOCKED",
        Exit.busy,
        `Cannot resize ${name}: it is locked; \`tresor setkey ${name}\` first`,
      )
    }
    const next = await UblkDevice.create(this.#deviceOptions(size), () => {})
    try {
      await linear.swap(next.path, size)
    } catch (error) {
      await next.remove()
      throw error
    }
    this.#device = next
    this.#count(old)
    await old.remove()
  }

  /** Of a device that is served no more. */
  #count({ counters }: UblkDevice): void {
    this.#counted = sum(this.#counted, { ...counters, waiting: 0 })
  }

  /** As Volume has it. */
  get claims(): readonly number[] {
    return this.#volume.claims
  }

  /**
   * Begins nothing more and has answered what was under way, so that another tresord can go on; until `serveOn`. Resolves
   * with the counters; `null`, and it serves on: the disk takes too long. The order of what follows is that of
   * src/tresord/takeover/block.ts.
   */
  hold(): Promise<ServerCounters | null> {
    return this.#queue(async () => {
      const device = this.#device
      if (device === null) throw new Error("its block device is not served")
      this.#held = true
      if (await device.drain()) return sum(this.#counted, device.counters)
      this.#held = false
      this.#setMode()
      return null
    })
  }

  /** Held: what was answered is on stable storage. */
  settle(): Promise<void> {
    return this.#volume.settle()
  }

  /** The device is nobody's, and its requests wait in the kernel. */
  letGo(): void {
    const device = this.#device
    if (device === null) return
    device.leave()
    this.#count(device)
    this.#device = null
    this.#left = device.info
  }

  /** Held, and nobody else serves it: takes the device back if it was let go of. */
  serveOn(): Promise<void> {
    return this.#queue(async () => {
      const left = this.#left
      this.#left = null
      this.#held = false
      if (left !== null) this.#device = await UblkDevice.recover(left, this.#deviceOptions(this.#volume.size))
      this.#setMode()
    })
  }

  /** Gives the key to what is another tresord's device until `takeOver`. */
  prepare(enclave: Enclave, handle: VolumeHandle): void {
    this.#volume.unlock(enclave, handle)
  }

  /** Prepared, and the other tresord holds it: looks at what there is. `counters`: of all that served it before. */
  async look(counters: ServerCounters): Promise<void> {
    this.#counted = { ...counters, waiting: 0 }
    this.#found = await this.#find(markOf(this.#options.name, this.#options.uuid))
  }

  /** The other tresord has let go of it: its requests go on. */
  takeOver(): Promise<void> {
    return this.#queue(async () => {
      const found = this.#found
      if (found?.info == null) throw new Error("there is no device to take over")
      await this.#recover(this.#deviceOptions(this.#volume.size), found, found.info)
      this.#setMode()
    })
  }

  /**
   * Removes the device, after what was written to it is with the volume. Throws BLOCK_IN_USE (exit 5), and BLOCK_STALLED (exit
   * 4) when the store hangs; it goes on serving then. `leave`: one whose store hangs is not removed, and `close` leaves it,
   * with what waits on it, to the next tresord.
   */
  release(leave = false): Promise<void> {
    return this.#queue(async () => {
      try {
        await this.#disappear()
      } catch (error) {
        if (!leave || !(error instanceof TresorError && error.code === "BLOCK_STALLED")) throw error
        this.#stalled = hung(this.#options.name)
      }
    })
  }

  async #disappear(): Promise<void> {
    const device = this.#device
    if (device === null) return
    const { name } = this.#options
    const visible = this.#visible
    const linear = this.#linear
    const ended = () => {
      const { reads, writes, flushes, discards, errors } = device.counters
      return reads + writes + flushes + discards + errors
    }
    const claim = await Claim.take({ name, path: visible, linear, ended }, this.#givenUp)
    try {
      // Of what is locked nothing can be written: it is told as lost.
      if (this.#volume.state !== "ready") device.setMode("fail")
      this.#unwritten = this.readOnly ? null : await claim.sync()
      // A mapping is not removed while it is open; the device is kept from others by it until then.
      if (linear !== null) await claim.close()
      await linear?.remove()
    } catch (error) {
      this.#givenUp = claim.close().catch(() => {})
      this.#setMode()
      throw error
    }
    this.#linear = null
    try {
      removeLink(name, visible)
    } finally {
      await claim.close()
    }
    this.#count(device)
    this.#device = null
    await device.remove()
  }

  close(): Promise<void> {
    return this.#queue(async () => {
      const left = this.#stalled
      try {
        if (left === null) await this.#disappear()
      } finally {
        // In use, or it cannot be removed: it waits for the next tresord.
        this.#device?.leave()
        this.#device = null
        await this.#volume.close().catch((error: unknown) => {
          throw left ?? error
        })
      }
      const unwritten = left ?? this.#unwritten
      if (unwritten !== null) throw unwritten
    })
  }
}

function hung(name: string): TresorError {
  return new TresorError(
    "BLOCK_STALLED",
    Exit.wrongDevice,
    `its store has not answered for ${STALL_MS / 1000} s; ${linkOf(name)} stays, with what waits on it, until the volume is opened again`,
  )
}
