/** A store of which one read, write or flush fails. */
import { IoError } from "../base/io-error.ts"
import { CrashingStore } from "./crashing-store.ts"

export interface Fault {
  readonly kind: "read" | "write" | "flush"
  /** From 0, counted from when the store is told. */
  readonly number: number
  /** Default: EIO. */
  readonly code?: "EIO" | "ENOSPC"
}

export class FaultyStore extends CrashingStore {
  #fault: Fault | null = null
  #left = 0

  /** Whether it has failed. */
  get failed(): boolean {
    return this.#left < 0
  }

  fail(fault: Fault): void {
    this.#fault = fault
    this.#left = fault.number
  }

  #count(kind: Fault["kind"]): void {
    if (kind === this.#fault?.kind && this.#left-- === 0) {
      throw new IoError(this.#fault.code ?? "EIO", `a ${kind} failed`)
    }
  }

  override async read(offset: number, into: Uint8Array): Promise<void> {
    this.#count("read")
    await super.read(offset, into)
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    this.#count("write")
    await super.write(offset, from)
  }

  override async flush(): Promise<void> {
    this.#count("flush")
    await super.flush()
  }
}
