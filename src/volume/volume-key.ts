/** Whether a volume has its key, in which enclave, and who waits for it. */

import { IoError } from "../base/io-error.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { FileSectors } from "../native/addon.ts"
import type { Disk } from "../store/disk.ts"
import type { Store } from "../store/store.ts"

/** "locked": no key, I/O waits. "failed": no key in time, I/O ends in EIO. */
export type VolumeState = "ready" | "locked" | "failed" | "closing" | "closed"

export function closing(): IoError {
  return new IoError("ESHUTDOWN", "the volume is closing")
}

export class VolumeKey {
  readonly #store: Store
  readonly #direct: boolean
  readonly #graceMs: number | null
  readonly #waiting = new Set<() => void>()
  readonly #listeners = new Set<() => void>()
  #key: { readonly enclave: Enclave; readonly handle: VolumeHandle } | null = null
  #file: FileSectors | null = null
  #disk: Disk | null = null
  #state: VolumeState = "locked"
  #grace: NodeJS.Timeout | null = null

  /** `direct`: everything goes past the page cache. `graceMs`: how long I/O waits for a key; `null`: without a limit. */
  constructor(store: Store, direct: boolean, graceMs: number | null) {
    this.#store = store
    this.#direct = direct
    this.#graceMs = graceMs
  }

  get state(): VolumeState {
    return this.#state
  }

  /** The way past the queue, while there is a key and the store is a file. */
  get file(): FileSectors | null {
    return this.#file
  }

  /** The way for what waits for a disk, likewise. */
  get disk(): Disk | null {
    return this.#disk
  }

  become(state: VolumeState): void {
    this.#state = state
    for (const wake of [...this.#waiting]) wake()
    for (const listener of [...this.#listeners]) listener()
  }

  /** Called at each change of state; returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Gives the key; I/O that waits goes on. An older handle is wiped. Throws ESHUTDOWN once the volume closes. */
  unlock(enclave: Enclave, handle: VolumeHandle): void {
    if (this.#state === "closing" || this.#state === "closed") throw closing()
    this.wipe()
    this.#key = { enclave, handle }
    const { disk = null } = this.#store
    // Nothing goes through the page cache beside what goes past it (docs/decisions/0064).
    const fd = this.#direct ? null : this.#store.fd
    this.#file = fd === null ? null : (enclave.fileSectors?.(handle, fd) ?? null)
    if (disk !== null && enclave.lend !== undefined) {
      enclave.lend(handle, disk.native)
      this.#disk = disk
    }
    this.become("ready")
  }

  /** Wipes the key, in any state and at once; ciphertext already made is still written. */
  lock(): void {
    this.wipe()
    this.#wait()
  }

  /** While locked: I/O that waits, and all that comes, ends in EIO until the next unlock. */
  fail(): void {
    if (this.#state !== "locked") return
    if (this.#grace !== null) clearTimeout(this.#grace)
    this.become("failed")
  }

  /** When the key went with its enclave, in a suspend or a crash: as the next I/O would find. */
  lost(): void {
    if (this.#key === null || this.#key.enclave.alive) return
    this.#key = null
    this.#withdraw()
    this.#wait()
  }

  /** A volume that closes waits for no key. */
  #wait(): void {
    if (this.#state !== "ready" && this.#state !== "locked") return
    if (this.#graceMs !== null) {
      this.#grace = setTimeout(() => this.become("failed"), this.#graceMs)
      this.#grace.unref()
    }
    this.become("locked")
  }

  /** Without a change of state. */
  wipe(): void {
    if (this.#grace !== null) clearTimeout(this.#grace)
    this.#grace = null
    const key = this.#key
    this.#key = null
    this.#withdraw()
    if (key?.enclave.alive) key.enclave.closeVolume(key.handle)
  }

  /** The ways that do not ask for the key each time. */
  #withdraw(): void {
    this.#file = null
    this.#disk?.native.clearKey()
    this.#disk?.wipe()
    this.#disk = null
  }

  /**
   * Whole sectors through the enclave, `offset` bytes into the volume, once there is a key; again through the next one
   * when it was lost. Rejects with EIO where there will be none, or the enclave refuses, and with ESHUTDOWN.
   */
  async crypt(decrypt: boolean, offset: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    for (;;) {
      const key = this.#key
      if (key === null) {
        if (this.#state === "failed") throw new IoError("EIO", "the volume has no key")
        if (this.#state !== "locked") throw closing()
        await new Promise<void>((resolve) => {
          const wake = () => {
            this.#waiting.delete(wake)
            resolve()
          }
          this.#waiting.add(wake)
        })
        continue
      }
      try {
        key.enclave.sectors(key.handle, decrypt, [{ input, output, sector: BigInt(offset / 512) }])
        return
      } catch (error) {
        if (key.enclave.alive) throw new IoError("EIO", "the enclave refused the sectors", { cause: error })
        if (this.#key === key) this.lost()
      }
    }
  }
}
