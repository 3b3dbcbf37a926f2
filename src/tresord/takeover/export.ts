/**
 * What one kind of export does in a takeover, on either side, as nbd.ts. The rest is the same for all
 * (predecessor.ts, successor.ts).
 */
import type { VolumeHandle } from "../../enclave/types.ts"
import type { Heard, Message, TakeoverMessage } from "./messages.ts"

/** Rejects with UPGRADE_FAILED when the successor has ended. */
export type Say = <K extends TakeoverMessage>(kind: K, message: Message<K>, fds?: readonly number[]) => Promise<void>
/** Rejects with UPGRADE_FAILED when the predecessor has, or says something else. */
export type Next = <K extends TakeoverMessage>(...kinds: readonly K[]) => Promise<Heard<K>>

/** The predecessor's. */
export interface YieldedExport {
  readonly discards: boolean
  /** Descriptors that keep others off the store. */
  readonly claims: readonly number[]
  /** Begins nothing more, and has answered what had begun. Rejects, and serves on, when that takes too long. */
  hold(): Promise<HeldExport>
}

export interface HeldExport {
  /** How long the successor may take after `letGo`; absent: as long as it was held before. */
  readonly patienceMs?: number
  /** What was answered is on stable storage. */
  settle(): Promise<void>
  /** Says what the successor needs to know of this kind of export. */
  give(say: Say): Promise<void>
  /** Lets go of what only one process can have; before "go". */
  letGo?(): void
  /** The successor has ended: serves on, whatever was done of the above. */
  release(): Promise<void>
}

/** The successor's. */
export interface TakenExport<T> {
  /** Takes the key; nothing is served. */
  unlock(handle: VolumeHandle): void
  /** Hears what `give` said. */
  receive(next: Next, handle: VolumeHandle): Promise<T>
}
