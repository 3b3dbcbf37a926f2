/**
 * The flow of 2016: `cryptsetup create --cipher tresor` sets a passphrase's
 * hash as the key, and the cipher's key is KDF(those bytes, sealed salt), made
 * in the enclave. One such daemon serves all these mappings, each with the key
 * of its own passphrase. With `--setkey` the bytes are a dummy: the passphrase
 * comes sealed, by `tresor setkey`, and never passes through the kernel.
 */

import { Exit, TresorError } from "../base/errors.ts"
import { serial } from "../base/serial.ts"
import { LEGACY_CIPHER, type VolumeInput, type VolumeStatus } from "../control/volume.ts"
import { type Asked, bindingOf } from "../enclave/asked.ts"
import { EnclaveError } from "../enclave/error.ts"
import { encodeLegacyParameters } from "../enclave/marshal.ts"
import type { BlockMode, Enclave, Purpose, SealedRequest, SealPolicy, VolumeHandle } from "../enclave/types.ts"
import type { ForgetEvent, KernelRing, RingOptions, SetkeyEvent } from "../mapping/attach.ts"
import { moduleCounters } from "../mapping/module.ts"
import type { LegacyRecord } from "../mapping/record.ts"
import type { Challenge, DaemonVolume, Predecessor, Report } from "./service.ts"

/** errno(3), as setkey returns it to cryptsetup. */
const EIO = 5
const EINVAL = 22
const ENOKEY = 126

/** What this asks of /dev/tresor/control. */
export type LegacyRing = Pick<KernelRing, "serve" | "hold" | "release" | "refuse" | "counters" | "stop">

export interface LegacyParts {
  readonly name: string
  /** Of the record. */
  readonly path: string
  readonly record: LegacyRecord
  readonly saveRecord: (record: LegacyRecord & { readonly sealed: Uint8Array }) => void
  readonly enclave: Enclave
  /** Of a salt that is made now; one that is there keeps its own. */
  readonly sealPolicy: SealPolicy
  /** Passphrases come by Unlock, not by setkey. */
  readonly sealedOnly: boolean
  readonly attach: (enclave: Enclave, options: RingOptions) => LegacyRing
  readonly warn: (message: string, facts: Record<string, unknown>) => void
  /** The enclave is lost, and with it every key; what waits, waits in the kernel. */
  readonly onLost: () => void
}

interface Held {
  readonly id: bigint
  readonly mode: BlockMode
  readonly size: number
}

interface Served {
  readonly handle: VolumeHandle
  readonly mode: BlockMode
}

/** The module offers orphans at the moment it is attached to. */
const OFFERS_MS = 5000

export class LegacyService implements DaemonVolume {
  readonly #parts: LegacyParts
  readonly #since = new Date().toISOString()
  #ring: LegacyRing
  /** By the module's number. */
  readonly #keys = new Map<bigint, Served>()
  /** Served before the module took us for dead: it asks for those that are still in use. */
  readonly #former = new Map<bigint, Served>()
  /** setkey was told yes, requests wait for a passphrase; oldest first. */
  #held: Held[] = []
  /** A passphrase that came before its setkey; sealed still. */
  #early: SealedRequest | null = null
  #record: LegacyRecord
  readonly #queue = serial()
  #listeners = new Set<() => void>()
  #closed = false

  constructor(parts: LegacyParts) {
    this.#parts = parts
    this.#record = parts.record
    this.#ring = this.#attach()
  }

  #attach(): LegacyRing {
    const { attach, enclave, onLost } = this.#parts
    return attach(enclave, {
      legacy: true,
      onEvent: (event) => void this.#queue(() => this.#handle(event)),
      onLost,
      onDetached: () => void this.#queue(async () => this.#detached()),
    })
  }

  /** The module took us for dead. It offers the keys again; their bytes are not needed, as the enclave has the keys. */
  #detached(): void {
    if (this.#closed) return
    const { warn, onLost } = this.#parts
    this.#ring.stop()
    for (const [id, served] of this.#keys) this.#former.set(id, served)
    this.#keys.clear()
    this.#held = []
    try {
      this.#ring = this.#attach()
    } catch (error) {
      warn("the module took this daemon for dead, and it cannot serve again", { reason: (error as Error).message })
      onLost()
      return
    }
    warn("the module took this daemon for dead, it serves again", {})
    setTimeout(() => void this.#queue(async () => this.#wipeFormer()), OFFERS_MS).unref()
  }

  #wipeFormer(): void {
    for (const { handle } of this.#former.values()) this.#wipe(handle)
    this.#former.clear()
    this.#changed()
  }

  #wipe(handle: VolumeHandle): void {
    if (this.#parts.enclave.alive) this.#parts.enclave.closeVolume(handle)
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  async #handle(event: SetkeyEvent | ForgetEvent): Promise<void> {
    if (this.#closed) return
    if (event.type === "forget") {
      const served = this.#keys.get(event.id)
      if (this.#keys.delete(event.id) && served !== undefined) this.#wipe(served.handle)
      // Its mapping went before a passphrase came.
      this.#held = this.#held.filter(({ id }) => id !== event.id)
    } else {
      try {
        await this.#setkey(event)
      } finally {
        event.bytes?.fill(0)
      }
    }
    this.#changed()
  }

  async #setkey({ id, mode, size, bytes }: SetkeyEvent): Promise<void> {
    const { sealedOnly, warn } = this.#parts
    const former = bytes === null ? this.#former.get(id) : undefined
    if (former !== undefined) {
      this.#former.delete(id)
      this.#keep(id, former, () => this.#ring.serve(id, former.handle, former.mode))
      return
    }
    const secret = sealedOnly ? this.#early : bytes
    if (secret === null && sealedOnly) {
      if (this.#ring.hold(id)) this.#held.push({ id, mode, size })
      return
    }
    // The key of a daemon that died: its bytes went with it.
    if (secret === null) {
      this.#ring.refuse(id, ENOKEY)
      return
    }
    this.#early = null
    try {
      const handle = await this.#derive(mode, size, secret)
      this.#keep(id, { handle, mode }, () => this.#ring.serve(id, handle, mode))
    } catch (error) {
      const unsupported = error instanceof EnclaveError && error.status === "unsupported"
      warn("no key was made", { mode, size, reason: (error as Error).message })
      this.#ring.refuse(id, unsupported ? EINVAL : EIO)
    }
  }

  async #derive(mode: BlockMode, keySize: number, secret: Uint8Array | SealedRequest): Promise<VolumeHandle> {
    const { enclave, sealPolicy, saveRecord } = this.#parts
    const { uuid, kdf, sealed: old } = this.#record
    const salt = old === null ? { make: sealPolicy } : { sealed: old }
    const { handle, sealed } = await enclave.legacy({ uuid, mode, keySize, kdf, salt, secret })
    if (old === null || Buffer.compare(old, sealed) !== 0) {
      const record = { uuid, kdf, sealed }
      try {
        saveRecord(record)
      } catch (error) {
        // Without its salt on disk, nothing may be written under this key.
        if (old === null) {
          enclave.closeVolume(handle)
          throw error
        }
        this.#parts.warn("the resealed salt was not saved", { reason: (error as Error).message })
      }
      this.#record = record
    }
    return handle
  }

  /** False, and the key wiped, when nobody waits for it any more; wiped, too, when it is the wrong one. */
  #keep(id: bigint, served: Served, give: () => boolean): boolean {
    let given = false
    try {
      given = give()
    } finally {
      if (given) this.#keys.set(id, served)
      else this.#wipe(served.handle)
    }
    return given
  }

  /** What a passphrase that comes now is for. */
  #asked(): Extract<Asked, { readonly purpose: "legacy" }> {
    const { uuid, kdf, sealed } = this.#record
    return { purpose: "legacy", uuid, kdf, make: sealed === null ? this.#parts.sealPolicy : null }
  }

  async challenge(purpose: Purpose): Promise<Challenge> {
    const { enclave } = this.#parts
    if (purpose !== "legacy") {
      throw new TresorError(
        "PURPOSE_REFUSED",
        Exit.badArguments,
        `Cannot unlock ${this.#parts.name}: it serves mappings of 2016's flow; use --legacy`,
      )
    }
    const { kdf, make } = this.#asked()
    const nonce = await enclave.challenge(purpose)
    return { nonce, parameters: encodeLegacyParameters(kdf, make), enclave: enclave.identity }
  }

  async report(targetInfo: Uint8Array, nonce: Uint8Array): Promise<Report> {
    const { enclave } = this.#parts
    return { report: await enclave.report(targetInfo, nonce), enclave: enclave.identity }
  }

  /** A record has no keyslots, and no succession (docs/decisions/0060). */
  async predecessors(): Promise<readonly Predecessor[]> {
    return []
  }

  async succeed(): Promise<number> {
    throw new TresorError(
      "PURPOSE_REFUSED",
      Exit.badArguments,
      `Cannot hand the salt of ${this.#parts.name} over: a record of 2016's flow stays with the enclave that made it`,
    )
  }

  /** A passphrase for the mapping that waits longest, or else for the next one made. */
  async unlock({ uuid, slot, nonce, request, message }: VolumeInput<"Unlock">): Promise<void> {
    const { name, sealedOnly } = this.#parts
    if (!sealedOnly) {
      throw new TresorError(
        "LEGACY_NOT_SEALED",
        Exit.badArguments,
        `Cannot take a passphrase for ${name}: it comes with cryptsetup's key; start tresord with --legacy --setkey`,
      )
    }
    await this.#queue(async () => {
      const context = { ...(await bindingOf(this.#asked())), uuid, slot, request, nonce }
      const secret = { context, bytes: message }
      const next = this.#held.shift()
      if (next === undefined) {
        this.#early = secret
        return
      }
      const { id, mode, size } = next
      try {
        const handle = await this.#derive(mode, size, secret)
        if (this.#keep(id, { handle, mode }, () => this.#ring.release(id, handle, mode))) return
      } catch (error) {
        this.#held.unshift(next)
        throw error
      }
      throw new TresorError(
        "LEGACY_GONE",
        Exit.wrongDevice,
        `Cannot give ${name} its key: the mapping that waited for it is gone; try again for the next one`,
      )
    })
    this.#changed()
  }

  async reencrypt(): Promise<void> {
    throw this.#never("reencrypt", "a mapping of 2016's flow has no header that could say how far it is")
  }

  async pause(): Promise<void> {
    throw this.#never("pause", "no reencryption runs")
  }

  async lock(): Promise<void> {
    throw this.#never("lock", "remove its mappings with cryptsetup instead, each takes its key along")
  }

  async lockIfRemoved(): Promise<boolean> {
    return false
  }

  async resize(): Promise<number> {
    throw this.#never("resize", "cryptsetup resize does that to a mapping")
  }

  #never(what: string, way: string): TresorError {
    const { name } = this.#parts
    return new TresorError(
      "LEGACY_UNSUPPORTED",
      Exit.badArguments,
      `Cannot ${what} ${name}: it is not a volume; ${way}`,
    )
  }

  status(): VolumeStatus {
    const { name, path, enclave } = this.#parts
    return {
      name,
      path,
      opened: [],
      uuid: this.#record.uuid,
      label: "",
      state: this.#closed ? "closing" : this.#held.length > 0 ? "locked" : "unlocked",
      pid: process.pid,
      export: "kernel",
      uri: "",
      socket: "",
      size: 0,
      sectorSize: 0,
      cipher: LEGACY_CIPHER,
      keySize: 0,
      readonly: false,
      discards: false,
      since: this.#since,
      keyslot: null,
      header: null,
      enclave: { ...enclave.identity, memory: { ...enclave.identity.memory } },
      transitionCycles: 0,
      disk: null,
      server: null,
      lease: null,
      device: null,
      reencryption: null,
      counters: this.counters(),
    }
  }

  counters(): Record<string, number> {
    return { keys: this.#keys.size, waiting: this.#held.length, ...this.#ring.counters(), ...moduleCounters() }
  }

  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted || this.#closed) {
        reject(new Error("nothing changes any more"))
        return
      }
      const listener = () => settle(resolve)
      const aborted = () => settle(() => reject(signal.reason as Error))
      const settle = (act: () => void) => {
        this.#listeners.delete(listener)
        signal.removeEventListener("abort", aborted)
        act()
      }
      this.#listeners.add(listener)
      signal.addEventListener("abort", aborted)
    })
  }

  /** Throws LEGACY_IN_USE (exit 5) while a mapping has its key here. */
  async release(): Promise<void> {
    const users = this.#keys.size + this.#held.length
    if (users === 0) return
    throw new TresorError(
      "LEGACY_IN_USE",
      Exit.busy,
      `Cannot close ${this.#parts.name}: ${users} ${users === 1 ? "mapping has its key" : "mappings have their keys"} here; remove ${users === 1 ? "it" : "them"} with cryptsetup first`,
    )
  }

  async close(): Promise<void> {
    await this.#queue(async () => {
      if (this.#closed) return
      this.#closed = true
      this.#ring.stop()
      for (const { handle } of [...this.#keys.values(), ...this.#former.values()]) this.#wipe(handle)
      this.#keys.clear()
      this.#former.clear()
      await this.#parts.enclave.close()
    })
    this.#changed()
  }
}
