/** What a session is put together of (start.ts). */

import type { DaemonOptions, Export } from "../control/daemon-options.ts"
import type { VolumeStatus } from "../control/volume.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { NbdServer } from "../export/server.ts"
import type { HeaderAccess } from "../header/access.ts"
import type { Lease } from "../lease/lease.ts"
import type { Segment } from "../luks2/types.ts"
import type { HeldPath } from "../store/held-path.ts"
import type { VolumeState } from "../volume/volume-key.ts"
import type { Reencryption } from "./reencryption.ts"
import type { KeptEnclaves } from "./succession.ts"
import type { YieldedExport } from "./takeover/export.ts"
import type { Resumed } from "./takeover/successor.ts"

/**
 * The plaintext side: served over NBD (src/volume/volume.ts), a block device (src/block/volume.ts), or a dm-crypt mapping
 * (src/mapping/volume.ts).
 */
export interface PlainVolume {
  readonly state: VolumeState
  /** Bytes. */
  readonly size: number
  readonly sectorSize: number
  readonly readOnly: boolean
  readonly discards: boolean
  readonly counters: object
  readonly diskStatus?: VolumeStatus["disk"]
  readonly serverStatus?: VolumeStatus["server"]
  /** Path of the kernel's block device; `null`: there is none now. */
  readonly device?: string | null
  unlock(enclave: Enclave, handle: VolumeHandle): void | Promise<void>
  lock(): void | Promise<void>
  /** While locked: I/O that waits, and all that comes, ends in EIO until the next unlock. */
  fail?(): void
  /** Its enclave may be lost: notices now what the next I/O would. */
  lost?(): void
  resize(): Promise<number>
  onChange(listener: () => void): () => void
  close(): Promise<void>
  /** Bytes written that no flush has covered. */
  readonly unflushed?: number
  /**
   * Throws when something outside still uses it; then `close` would harm that. `leave`: a store that hangs is no reason to go
   * on.
   */
  release?(leave: boolean): Promise<void>
}

export interface SessionParts {
  readonly name: string
  readonly path: string
  readonly export: Export
  readonly uri: string
  readonly socket: string
  readonly header: HeaderAccess
  readonly volume: PlainVolume
  /** `null`: a volume whose ciphertext the kernel reads and writes has none while it is open. */
  readonly reencryption?: Reencryption | null
  /** On the store; given back with the session. */
  readonly lease?: Pick<Lease, "status" | "onChange" | "release" | "leave"> | null
  /** Data and detached header, unless they are NBD exports; closed with the session. */
  readonly held?: readonly Pick<HeldPath, "path" | "identity" | "removed" | "close" | "fd">[]
  readonly options?: DaemonOptions
  /** How another tresord takes it over; absent: it cannot. */
  readonly yielded?: YieldedExport
  /** It was taken over from another tresord. */
  readonly resumed?: Resumed
  /** As the header said when the volume was opened. */
  readonly segment: Segment
  /** Modelled cost of an entry and exit; 0: none. */
  readonly transitionCycles: number
  readonly enclave: Enclave
  readonly openEnclave: () => Promise<Enclave>
  /** Of earlier versions, that keyslots may be sealed to. */
  readonly kept: KeptEnclaves
  /** Ends the NBD service: no new clients, those connected are drained and told. */
  readonly stopServing: () => Promise<void>
  /** Who is connected to it, and how many were turned away. */
  readonly clients?: () => Pick<NbdServer, "connections" | "refused" | "clients" | "vacant">
  /** What was read and written by others than the volume itself, on top of its counters. */
  readonly served?: () => Readonly<object & { readonly bytesWritten: number }>
  /** The volume has another size: those who use it are to know. */
  readonly resized?: () => void
  /** An unlock went well although something is to be told: re-sealing failed, slots changed. */
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}
