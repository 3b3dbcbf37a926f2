/** A store that tells what it was asked, and does it when and how a test says. */
import { MemoryStore } from "../store/memory-store.ts"

export type Step =
  | { readonly kind: "read" | "write" | "discard"; readonly offset: number; readonly length: number }
  | { readonly kind: "flush" }

export class WatchedStore extends MemoryStore {
  /** In the order begun. */
  readonly begun: Step[] = []
  /** In the order done. */
  readonly done: Step["kind"][] = []
  /** Runs before each step; what it throws is what the store rejects with. */
  before: (step: Step) => Promise<void> | void = () => {}

  async #step(step: Step, body: () => Promise<void>): Promise<void> {
    this.begun.push(step)
    await this.before(step)
    await body()
    this.done.push(step.kind)
  }

  override read(offset: number, into: Uint8Array): Promise<void> {
    return this.#step({ kind: "read", offset, length: into.length }, () => super.read(offset, into))
  }

  override write(offset: number, from: Uint8Array): Promise<void> {
    return this.#step({ kind: "write", offset, length: from.length }, () => super.write(offset, from))
  }

  override flush(): Promise<void> {
    return this.#step({ kind: "flush" }, () => super.flush())
  }

  override discard(offset: number, length: number): Promise<void> {
    return this.#step({ kind: "discard", offset, length }, () => super.discard(offset, length))
  }
}
