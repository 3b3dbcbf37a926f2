/** A store's requests under way, on the event loop; addon/disk/disk_binding.c. */
import { addon, type NativeEnclave } from "./addon.ts"

export interface DiskState {
  readonly engine: "io_uring" | "threads"
  /** Name of an errno: why it is not io_uring. Empty: it is, or was not asked for. */
  readonly refusal: string
  /** Name of an errno: a sync failed, and nothing is written any more. Empty: none did. */
  readonly failed: string
  /** Requests under way, and the most there have been. */
  readonly inflight: number
  readonly deepest: number
  /** Given up at a close: the device never answered. */
  readonly stranded: number
}

/** `at`, `length`: bytes of `buffer`, whole pages of one piece of 128 KiB at most. Throws EBADF once it was closed. */
export interface NativeDisk {
  readonly buffer: ArrayBuffer
  /** Bytes: what offsets and lengths past the page cache are multiples of; 0: there is no way past it. */
  readonly block: number
  sync(): Promise<void>
  /** The store's own bytes, all of them; nobody may touch them meanwhile. Begun by a turn. */
  get(offset: number, bytes: Uint8Array): Promise<void>
  put(offset: number, bytes: Uint8Array): Promise<void>
  punch(offset: number, length: number): Promise<void>
  /** Bytes: where the volume lies in the store, its size, its sectors. `past`: from now on everything goes past the page cache. */
  describe(offset: number, size: number, sectorSize: number, readOnly: boolean, past: boolean): void
  /**
   * Bytes of the volume: what threads begin there from now on waits, until `quietOver`. False: requests of before an
   * earlier range are still under way; try again.
   */
  quiet(start: number, end: number): boolean
  /** What was under way there has ended. */
  quietReached(): boolean
  /** Who waits is to be woken after this. */
  quietOver(): void
  setKey(enclave: NativeEnclave, handle: number): void
  clearKey(): void
  reserve(length: number): number
  release(at: number, length: number): void
  read(token: number, offset: number, length: number, at: number): void
  write(token: number, offset: number, length: number, at: number, durable: boolean): void
  /** Plaintext from `from` in other memory, which the next turn reads; `at`: where its ciphertext goes. ENOKEY in a later turn: it is there. */
  writeFrom(
    token: number,
    offset: number,
    length: number,
    at: number,
    durable: boolean,
    memory: ArrayBuffer,
    from: number,
  ): void
  /** Begins what was asked for; rows of (token, errno), at most `most`, of what has ended. */
  turn(rows: Float64Array, most: number): number
  due(): boolean
  wipe(): void
  state(): DiskState
  close(milliseconds: number): boolean
}

export const Choice = { any: 0, ring: 1, threads: 2 } as const

interface DiskFunctions {
  /** `past`: everything goes past the page cache. `threads`: for transfers, beside the event loop. */
  createDisk(
    cached: number,
    direct: number,
    choice: number,
    past: boolean,
    threads: number,
    onEnded: () => void,
  ): NativeDisk
  /** Zeros that begin at a page, in huge ones where there are some (addon/io/huge.h); `bytes` below 4 GiB. */
  diskMemory(bytes: number): ArrayBuffer
}

export const { createDisk, diskMemory } = addon as unknown as DiskFunctions

/** Transfers under way at one time. */
export const TRANSFERS = 256
