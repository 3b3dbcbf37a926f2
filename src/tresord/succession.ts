/** The enclaves that a volume's keyslots are sealed to, and how the one that runs takes their seals over. */
import { Exit, TresorError } from "../base/errors.ts"
import { introduce } from "../enclave/succession.ts"
import type { Enclave, SealedRequest, SealPolicy } from "../enclave/types.ts"
import { sealerOf } from "../luks2/tresor-token.ts"
import type { Header } from "../luks2/types.ts"
import type { Predecessor } from "./service.ts"

/** A locally built enclave's seals are its own. */
export const INHERITED_POLICY: SealPolicy = "mrenclave"

export interface KeptEnclaves {
  isKept(mrenclave: string): boolean
  /** `null`: it is not there, or damaged. */
  open(mrenclave: string): Promise<Enclave | null>
}

/** Who else's seals a header has, by what they say of themselves. */
export function predecessorsOf({ keyslots }: Header, running: Enclave["identity"], kept: KeptEnclaves): Predecessor[] {
  const found = new Map<string, number[]>()
  for (const { slot, sealed } of keyslots) {
    if (sealed === null) continue
    const { mrenclave, mrsigner, policy } = sealerOf(sealed)
    if (mrenclave === running.mrenclave || (policy === "mrsigner" && mrsigner === running.mrsigner)) continue
    found.set(mrenclave, [...(found.get(mrenclave) ?? []), slot])
  }
  return [...found].map(([mrenclave, slots]) => ({ mrenclave, slots, kept: kept.isKept(mrenclave) }))
}

/** One predecessor at a time, started when it is asked for the first time; and what has been inherited. */
export class Succession {
  readonly #kept: KeptEnclaves
  #started: Enclave | null = null
  /** By keyslot: sealed by the enclave that runs, not saved yet. */
  readonly #inherited = new Map<number, Uint8Array>()

  constructor(kept: KeptEnclaves) {
    this.#kept = kept
  }

  /** Rejects with PREDECESSOR_MISSING (exit 2). */
  async start(name: string, mrenclave: string): Promise<Enclave> {
    if (this.#started?.identity.mrenclave === mrenclave && this.#started.alive) return this.#started
    await this.end()
    const enclave = await this.#kept.open(mrenclave)
    if (enclave === null) {
      throw new TresorError(
        "PREDECESSOR_MISSING",
        Exit.denied,
        `Cannot ask enclave ${mrenclave.slice(0, 16)}… for ${name}: its image is not on this machine any more, or damaged; ` +
          "the recovery key opens the volume (`tresor recover`)",
      )
    }
    this.#started = enclave
    return enclave
  }

  /** The keyslot whose salt `successor` has sealed now. Rejects as both enclaves decide. */
  async succeed(sealed: SealedRequest, header: Header, successor: Enclave): Promise<number> {
    const predecessor = this.#started!
    const shown = await introduce(successor, predecessor)
    const { handover, slot } = await predecessor.bequeath!(sealed, header, shown, INHERITED_POLICY)
    this.#inherited.set(slot, await successor.inherit!(handover))
    return slot
  }

  /** The header with what has been inherited in place of what the predecessor sealed. */
  withInherited(header: Header): Header {
    if (this.#inherited.size === 0) return header
    const keyslots = header.keyslots.map((each) => {
      const sealed = this.#inherited.get(each.slot)
      return sealed === undefined || each.sealed === null ? each : { ...each, sealed }
    })
    return { ...header, keyslots }
  }

  /** A seal to save, once its keyslot has opened with it. */
  take(slot: number): Uint8Array | null {
    const sealed = this.#inherited.get(slot) ?? null
    this.#inherited.delete(slot)
    return sealed
  }

  /** Ends the predecessor. What was inherited stays: another start of the same image opens it too. */
  async end(): Promise<void> {
    const started = this.#started
    this.#started = null
    await started?.close()
  }
}
