/** A store that can fail at any step, and lose what was not synced in any order. */
import { MemoryStore } from "../store/memory-store.ts"

const BLOCK = 512

export class Crash extends Error {
  override readonly name = "Crash"
}

export class CrashingStore extends MemoryStore {
  /** Blocks written since the last flush, in order, and what they replaced. */
  #unsynced: { readonly at: number; readonly bytes: Uint8Array; readonly before: Uint8Array }[] = []
  #steps = 0
  #crashAt = Number.POSITIVE_INFINITY

  constructor(content: number | Uint8Array, options: { readonly readOnly?: boolean } = {}) {
    super(typeof content === "number" ? new Uint8Array(content) : content, options)
  }

  /** Writes and flushes so far. */
  get steps(): number {
    return this.#steps
  }

  /** Throws Crash at step number `step` (from 0) and ever after; a write that fails may have been done in part. */
  crashAt(step: number): void {
    this.#crashAt = step
  }

  /** What the disk may hold once power is back: of the unsynced blocks, those `keeps` says. */
  afterCrash(keeps: (block: number) => boolean): CrashingStore {
    const bytes = this.bytes.slice()
    for (const { at, before } of this.#unsynced.toReversed()) bytes.set(before, at)
    this.#unsynced.forEach((block, index) => {
      if (keeps(index)) bytes.set(block.bytes, block.at)
    })
    return new CrashingStore(bytes)
  }

  #step(): void {
    if (this.#steps++ >= this.#crashAt) throw new Crash(`step ${this.#steps - 1}`)
  }

  override async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += BLOCK) {
      const block = bytes.slice(at, at + BLOCK)
      const start = offset + at
      this.#unsynced.push({ at: start, bytes: block, before: this.bytes.slice(start, start + block.length) })
    }
    this.#step()
    await super.write(offset, bytes)
  }

  override async flush(): Promise<void> {
    this.#step()
    this.#unsynced = []
  }
}
