/**
 * The plaintext side of a volume as a dm-crypt mapping: /dev/mapper/NAME, its
 * sectors encrypted through tresor.ko by this process's enclave. Nothing is
 * served before the first unlock. A mapping left behind by a killed tresord is
 * taken over: its I/O goes on where it stopped.
 */

import { randomBytes } from "node:crypto"
import { HANDLE_SIZE } from "../abi/kmod.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { serial } from "../base/serial.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import { claimPath, type PathClaim } from "../store/claim.ts"
import { segmentSize } from "../volume/segment.ts"
import type { VolumeState } from "../volume/volume-key.ts"
import { KernelRing, type RingCounters } from "./attach.ts"
import {
  createMapping,
  findMapping,
  isDeviceOf,
  openBlockDevice,
  refreshBlockDevice,
  reloadMapping,
  removeMapping,
  resumeMapping,
  suspendMapping,
  wipeMapping,
} from "./dm.ts"
import { moduleCounters } from "./module.ts"
import { type CryptTable, formatTable, mappingUuid, parseTable, sameTable } from "./table.ts"

export interface KernelVolumeOptions {
  readonly name: string
  /** File or block device that holds the payload. */
  readonly path: string
  /** Of the volume. */
  readonly uuid: string
  /** Bytes. */
  readonly offset: bigint
  /** Bytes; `null`: to the end of the device. */
  readonly size: bigint | null
  readonly sectorSize: number
  readonly ivTweak: bigint
  readonly readOnly: boolean
  readonly discards: boolean
  /** Another process has made the claims, and they stay as long as this process. */
  readonly claims?: readonly number[]
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}

/** What is served while there is a key. */
interface Key {
  readonly enclave: Enclave
  readonly handle: VolumeHandle
  readonly ring: KernelRing
  readonly name: Uint8Array
}

/** How long a lock waits for the requests in flight below the mapping. */
const SUSPEND_MS = 10_000

/** What went wrong in `work`, or that it is not done yet; `null`: it is done. */
async function within(ms: number, work: () => Promise<void>): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, ms, `not done within ${ms} ms`)
  })
  const done = work().then(
    () => null,
    (error: unknown) => (error as Error).message,
  )
  return Promise.race([done, late]).finally(() => clearTimeout(timer))
}

export class KernelVolume {
  readonly sectorSize: number
  readonly readOnly: boolean
  readonly discards: boolean
  readonly #options: KernelVolumeOptions
  readonly #uuid: string
  /** Of the file or device, which the mapping has without asking anybody. */
  readonly #claim: PathClaim
  readonly #listeners = new Set<() => void>()
  #state: VolumeState = "locked"
  /** Of the mapping, once it is ours. */
  #table: CryptTable | null = null
  #size: number
  #key: Key | null = null
  /** Attached, while the handle is another tresord's. */
  #prepared: { readonly key: Key; readonly table: CryptTable } | null = null
  /** One change of the mapping at a time. */
  readonly #queue = serial()
  /** Of rings that have ended. */
  #counted: RingCounters = { batches: 0, blocks: 0, bytes: 0, failures: 0 }

  private constructor(options: KernelVolumeOptions, uuid: string, claim: PathClaim) {
    this.#options = options
    this.#uuid = uuid
    this.#claim = claim
    this.#size = Number(options.size ?? 0n)
    this.sectorSize = options.sectorSize
    this.readOnly = options.readOnly
    this.discards = options.discards && !options.readOnly
  }

  /**
   * Claims the backing device, as a volume over NBD does, and changes nothing yet. Throws, both with exit 5,
   * MAPPING_EXISTS when the name is somebody else's and STORE_BUSY.
   */
  static async open(options: KernelVolumeOptions): Promise<KernelVolume> {
    const uuid = mappingUuid(options.uuid, options.name)
    const found = await findMapping(options.name)
    if (found !== null && found.uuid !== uuid) {
      throw new TresorError(
        "MAPPING_EXISTS",
        Exit.busy,
        `Cannot open as ${options.name}: /dev/mapper/${options.name} exists and belongs to something else; choose another name`,
      )
    }
    const { path, readOnly, claims } = options
    const claim =
      claims === undefined
        ? await claimPath(path, { write: !readOnly, leftBehind: found !== null })
        : { fds: claims, release: async () => {} }
    return new KernelVolume(options, uuid, claim)
  }

  get state(): VolumeState {
    return this.#state
  }

  /** Bytes of plaintext; 0 before the first unlock when it follows the device. */
  get size(): number {
    return this.#size
  }

  get counters(): Record<string, number> {
    return { ...this.#ringCounters(), ...moduleCounters() }
  }

  #ringCounters(): RingCounters {
    const ring = this.#key?.ring
    return ring === undefined || ring.stopped ? this.#counted : sum(this.#counted, ring.counters())
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #become(state: VolumeState): void {
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }

  #wanted(device: string, deviceSize: number, handle: Uint8Array): CryptTable {
    const { offset, size: given, sectorSize, ivTweak, path } = this.#options
    const place = { offset: Number(offset), size: given === null ? null : Number(given), sectorSize }
    let size: number
    try {
      size = segmentSize(deviceSize, place)
    } catch (error) {
      throw new TresorError("SEGMENT_OUTSIDE", Exit.wrongDevice, `Cannot map ${path}: ${(error as Error).message}`)
    }
    return { size, handle, ivOffset: ivTweak, device, offset, sectorSize, discards: this.discards }
  }

  /** The mapping of this volume that is there already. Throws when it maps something else. */
  async #standing(): Promise<{ readonly table: CryptTable; readonly suspended: boolean } | null> {
    const { name, path } = this.#options
    const found = await findMapping(name)
    if (found === null) return null
    const table = found.uuid === this.#uuid ? parseTable(found.table) : null
    const size = table === null ? 0 : await refreshBlockDevice(table.device)
    if (
      table === null ||
      !isDeviceOf(table.device, path) ||
      !sameTable(table, {
        ...this.#wanted(table.device, size, table.handle),
        size: table.size,
        discards: table.discards,
      })
    ) {
      throw new TresorError(
        "MAPPING_EXISTS",
        Exit.busy,
        `Cannot open as ${name}: /dev/mapper/${name} exists and maps something else; remove it with dmsetup first`,
      )
    }
    return { table, suspended: found.suspended }
  }

  /** Makes the mapping, or gives the one that stands its key; I/O that waits goes on. */
  unlock(enclave: Enclave, handle: VolumeHandle): Promise<void> {
    return this.#queue(() => this.#unlock(enclave, handle))
  }

  async #unlock(enclave: Enclave, handle: VolumeHandle): Promise<void> {
    const { name } = this.#options
    if (this.#state === "closing" || this.#state === "closed") throw closing(name)
    if (this.#key?.enclave === enclave) {
      // Served already, and by the same key: there is one volume key only.
      enclave.closeVolume(handle)
      return
    }
    if (this.#key !== null) this.#forget(this.#key)
    this.#key = null
    const standing = await this.#standing()
    const live = standing !== null && !standing.suspended
    const key = this.#serve({ enclave, handle, name: live ? standing.table.handle : randomBytes(HANDLE_SIZE) })
    try {
      const table = standing === null ? await this.#create(key) : { ...standing.table, handle: key.name }
      if (standing?.suspended === true) {
        await reloadMapping(name, formatTable(table), this.readOnly)
        await resumeMapping(name)
      }
      this.#table = table
    } catch (error) {
      key.ring.stop()
      throw error
    }
    this.#key = key
    this.#size = this.#table.size
    this.#become("ready")
  }

  #attach(key: Omit<Key, "ring">): Key {
    const ring = new KernelRing(key.enclave, {
      onLost: () => this.#lost(ring),
      onDetached: () => void this.#queue(async () => this.#detached(ring)),
    })
    return { ...key, ring }
  }

  /** Takes requests of that name from here on. Throws, and is not attached any more, when it may not. */
  #add({ ring, name, handle }: Key): void {
    const { sectorSize, ivTweak } = this.#options
    try {
      ring.add(name, handle, { length: sectorSize, sector: ivTweak })
    } catch (error) {
      ring.stop()
      throw error
    }
  }

  #serve(key: Omit<Key, "ring">): Key {
    const attached = this.#attach(key)
    this.#add(attached)
    return attached
  }

  /** The module took us for dead: what came since waits, or failed, and we are here again. */
  #detached(ring: KernelRing): void {
    const key = this.#key
    if (key?.ring !== ring) return
    const { name, warn } = this.#options
    this.#stop(ring)
    try {
      this.#key = this.#serve(key)
      warn("the module took this daemon for dead, it serves again", { name })
    } catch (error) {
      warn("the module took this daemon for dead, and it cannot serve again", { reason: (error as Error).message })
      this.#key = null
      this.#forget(key)
      this.#become("locked")
    }
  }

  async #create(key: Key): Promise<CryptTable> {
    const { name, path } = this.#options
    const device = await openBlockDevice(path, this.readOnly)
    try {
      const table = this.#wanted(device.number, device.size, key.name)
      await createMapping(name, this.#uuid, formatTable(table), this.readOnly)
      return table
    } finally {
      // A loop device lives as long as the mapping now, or not at all.
      await device.release()
    }
  }

  /** What was not dropped waits in the kernel, for grace_seconds, until the next unlock. */
  #forget(key: Key): void {
    this.#stop(key.ring)
    if (key.enclave.alive) key.enclave.closeVolume(key.handle)
  }

  #stop(ring: KernelRing): void {
    if (ring.stopped) return
    ring.stop()
    this.#counted = sum(this.#counted, ring.counters())
  }

  #lost(ring: KernelRing): void {
    const key = this.#key
    if (key?.ring !== ring) return
    this.#key = null
    this.#forget(key)
    this.#become("locked")
  }

  /** The kernel's cipher forgets the handle, the enclave the key; I/O waits above the cipher, without a limit. */
  lock(): Promise<void> {
    return this.#queue(() => this.#lock())
  }

  async #lock(): Promise<void> {
    const key = this.#key
    if (key === null) return
    const { name, warn } = this.#options
    // A disk that hangs blocks the flush of a suspend forever: the key is wiped anyway.
    const fault = await within(SUSPEND_MS, async () => {
      await suspendMapping(name)
      await wipeMapping(name)
    })
    if (fault !== null) warn("locked, but the mapping was not suspended: its I/O waits in the module", { name, fault })
    this.#key = null
    key.ring.drop(key.name)
    this.#become("locked")
    this.#forget(key)
  }

  /** After the backing device has grown; the new size in bytes. */
  resize(): Promise<number> {
    return this.#queue(() => this.#resize())
  }

  async #resize(): Promise<number> {
    const key = this.#key
    const { name } = this.#options
    if (key === null || this.#table === null) {
      throw new TresorError(
        "VOLUME_LOCKED",
        Exit.busy,
        `Cannot resize ${name}: it is locked; \`tresor setkey ${name}\` first`,
      )
    }
    const table = this.#wanted(this.#table.device, await refreshBlockDevice(this.#table.device), key.name)
    if (table.size < this.#size) {
      throw new TresorError(
        "SEGMENT_OUTSIDE",
        Exit.wrongDevice,
        `Cannot resize ${name}: the backing device shrank; ${table.size} bytes are left of ${this.#size}`,
      )
    }
    await reloadMapping(name, formatTable(table), this.readOnly)
    // Suspends, swaps, resumes.
    await resumeMapping(name)
    this.#table = table
    this.#size = table.size
    return table.size
  }

  /** Descriptors that keep others off the file or device. */
  get claims(): readonly number[] {
    return this.#claim.fds
  }

  /** Once no change of the mapping is under way; resolves with the counters. */
  hold(): Promise<RingCounters> {
    return this.#queue(async () => this.#ringCounters())
  }

  /** Requests wait in the module, for its grace_seconds, for another tresord or `serveOn`. */
  letGo(): void {
    if (this.#key !== null) this.#stop(this.#key.ring)
  }

  /** Nobody else serves it: serves on if it was let go of. Throws, and is locked, when it may not. */
  serveOn(): Promise<void> {
    return this.#queue(async () => {
      const key = this.#key
      if (key === null || !key.ring.stopped) return
      try {
        this.#key = this.#serve(key)
      } catch (error) {
        this.#key = null
        this.#forget(key)
        this.#become("locked")
        throw error
      }
    })
  }

  /** Attaches, for a mapping that another tresord serves until `takeOver`. */
  prepare(enclave: Enclave, handle: VolumeHandle): Promise<void> {
    return this.#queue(async () => {
      const standing = await this.#standing()
      if (standing === null || standing.suspended) throw new Error("there is no mapping to take over")
      const { table } = standing
      this.#prepared = { key: this.#attach({ enclave, handle, name: table.handle }), table }
    })
  }

  /** Prepared, and the other tresord has let go of it. `counters`: of all that served it before. */
  takeOver(counters: RingCounters): Promise<void> {
    return this.#queue(async () => {
      const { key, table } = this.#prepared!
      this.#add(key)
      this.#counted = counters
      this.#key = key
      this.#table = table
      this.#size = table.size
      this.#become("ready")
    })
  }

  /** Removes the mapping, which flushes it. Throws MAPPING_IN_USE (exit 5), and goes on serving. */
  release(): Promise<void> {
    return this.#queue(() => this.#remove())
  }

  async #remove(): Promise<void> {
    if (this.#table === null) return
    await removeMapping(this.#options.name)
    this.#table = null
  }

  close(): Promise<void> {
    return this.#queue(() => this.#close())
  }

  async #close(): Promise<void> {
    if (this.#state === "closed") return
    this.#become("closing")
    try {
      await this.#remove()
    } finally {
      const key = this.#key
      this.#key = null
      if (key !== null) {
        // A mapping that stays, in use, is better off waiting for the next tresord.
        if (this.#table === null) key.ring.drop(key.name)
        this.#forget(key)
      }
      await this.#claim.release()
      this.#become("closed")
    }
  }
}

function sum(a: RingCounters, b: RingCounters): RingCounters {
  return {
    batches: a.batches + b.batches,
    blocks: a.blocks + b.blocks,
    bytes: a.bytes + b.bytes,
    failures: a.failures + b.failures,
  }
}

function closing(name: string): TresorError {
  return new TresorError("VOLUME_CLOSING", Exit.busy, `Cannot use ${name}: it is being closed`)
}
