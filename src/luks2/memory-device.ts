/** A header device for tests: it can fail at any step, and lose what was not synced in any order. */
import { Exit, TresorError } from "../errors.ts"
import type { HeaderDevice } from "./device.ts"
import { findSignature } from "./signatures.ts"

const BLOCK = 512

export class Crash extends Error {
  override readonly name = "Crash"
}

export class MemoryDevice implements HeaderDevice {
  readonly path = "memory"
  readonly readOnly: boolean
  /** What reads see. */
  readonly bytes: Uint8Array
  #stable: Uint8Array
  /** Blocks written since the last sync, in order. */
  #unsynced: { readonly at: number; readonly bytes: Uint8Array }[] = []
  #steps = 0
  #crashAt = Number.POSITIVE_INFINITY

  constructor(content: number | Uint8Array, { readOnly = false } = {}) {
    this.bytes = typeof content === "number" ? new Uint8Array(content) : content
    this.readOnly = readOnly
    this.#stable = this.bytes.slice()
  }

  /** Writes and syncs so far. */
  get steps(): number {
    return this.#steps
  }

  /** Throws Crash at step number `step` (from 0) and ever after; a write that fails may have been done in part. */
  crashAt(step: number): void {
    this.#crashAt = step
  }

  /** What the disk may hold once power is back: of the unsynced blocks, those `keeps` says. */
  afterCrash(keeps: (block: number) => boolean): MemoryDevice {
    const bytes = this.#stable.slice()
    this.#unsynced.forEach((block, index) => {
      if (keeps(index)) bytes.set(block.bytes, block.at)
    })
    return new MemoryDevice(bytes)
  }

  #step(): void {
    if (this.#steps++ >= this.#crashAt) throw new Crash(`step ${this.#steps - 1}`)
  }

  async size(): Promise<number> {
    return this.bytes.length
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > this.bytes.length) {
      throw new TresorError("LUKS2_TRUNCATED", Exit.wrongDevice, "the device ends")
    }
    return this.bytes.slice(offset, offset + length)
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += BLOCK) {
      this.#unsynced.push({ at: offset + at, bytes: bytes.slice(at, at + BLOCK) })
    }
    this.#step()
    this.bytes.set(bytes, offset)
  }

  async sync(): Promise<void> {
    this.#step()
    for (const { at, bytes } of this.#unsynced) this.#stable.set(bytes, at)
    this.#unsynced = []
  }

  signature(options: { readonly luks: boolean }): Promise<string | null> {
    return findSignature(this, options)
  }

  locked<T>(_mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T> {
    return work()
  }

  async close(): Promise<void> {}
}
