/** A ring of the 2016 flow without a module: tests ask as the kernel does, and read what it was answered. */
import type { Enclave } from "../enclave/types.ts"
import type { ForgetEvent, RingOptions, SetkeyEvent } from "../mapping/attach.ts"
import type { LegacyRing } from "../tresord/legacy.ts"

export class FakeLegacyRing {
  /** Calls of the daemon in their order, as "serve 1 2": key 1 by handle 2. */
  readonly log: string[] = []
  /** Keys that nobody waits for any more. */
  readonly gone = new Set<bigint>()
  /** Keys that the module knows by other bytes. */
  readonly rejected = new Set<bigint>()
  #attached: RingOptions | null = null

  readonly attach = (_: Enclave, options: RingOptions): LegacyRing => {
    this.#attached = options
    this.log.push("attach")
    return {
      serve: this.#answer("serve"),
      hold: this.#answer("hold"),
      release: this.#answer("release"),
      refuse: this.#answer("refuse"),
      counters: () => ({ batches: 0, blocks: 0, bytes: 0, failures: 0 }),
      stop: () => void this.log.push("stop"),
    }
  }

  #answer(word: string) {
    return (id: bigint, more?: number): boolean => {
      if (this.gone.has(id)) return false
      if (this.rejected.has(id) && (word === "serve" || word === "release")) throw new Error("KEY_REJECTED")
      this.log.push(`${word} ${id}${more === undefined ? "" : ` ${more}`}`)
      return true
    }
  }

  ask(event: SetkeyEvent | ForgetEvent): void {
    this.#attached!.onEvent!(event)
  }

  /** Takes the daemon for dead. */
  detach(): void {
    this.#attached!.onDetached()
  }
}
