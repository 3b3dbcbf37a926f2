/** A store in memory; for tests and for nothing that must last. */

import { IoError } from "../base/io-error.ts"
import { checkRange, type Store } from "./store.ts"

export class MemoryStore implements Store {
  readonly path: string = "memory"
  readonly fd = null
  readonly discards = true
  readonly readOnly: boolean
  /** The store's contents now. */
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, { readOnly = false } = {}) {
    this.bytes = bytes
    this.readOnly = readOnly
  }

  get size(): number {
    return this.bytes.length
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length)
    into.set(this.bytes.subarray(offset, offset + into.length))
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", "the store is read-only")
    checkRange(this.size, offset, from.length)
    this.bytes.set(from, offset)
  }

  async flush(): Promise<void> {}

  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new IoError("EPERM", "the store is read-only")
    checkRange(this.size, offset, length)
    this.bytes.fill(0, offset, offset + length)
  }

  async refresh(): Promise<number> {
    return this.size
  }

  locked<T>(_mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T> {
    return work()
  }

  async close(): Promise<void> {}
}
