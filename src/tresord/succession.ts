/** The enclaves that a volume's keyslots are sealed to, and how the one that runs takes their seals over. */
import { Exit, TresorError } from "../base/errors.ts"
import { introduce } from "../enclave/succession.ts"
import type { Enclave, SealedRequest, SealPolicy } from "../enclave/types.ts"
import { type Sealer, sealerOf } from "../luks2/tresor-token.ts"
import type { Header } from "../luks2/types.ts"
import type { Predecessor } from "./service.ts"

/** A locally built enclave's seals are its own. */
export const INHERITED_POLICY: SealPolicy = "mrenclave"

/** An image that is kept, as signed by one signer. */
export interface KeptEnclave {
  readonly mrenclave: string
  readonly mrsigner: string
  /** `null`: it is not there any more, or damaged. */
  open(): Promise<Enclave | null>
}

export interface KeptEnclaves {
  /** The one that opens what `sealer` has sealed. */
  find(sealer: Sealer): KeptEnclave | null
}

/** An enclave whose seals a header has. */
export interface SealedBefore extends Pick<Predecessor, "mrenclave" | "slots"> {
  /** `null`: nothing that opens them is kept. */
  readonly kept: KeptEnclave | null
}

/** Who else's seals a header has, by what they say of themselves. */
export function predecessorsOf(
  { keyslots }: Header,
  running: Enclave["identity"],
  kept: KeptEnclaves,
): readonly SealedBefore[] {
  const found = new Map<string, SealedBefore>()
  for (const { slot, sealed } of keyslots) {
    if (sealed === null) continue
    const sealer = sealerOf(sealed)
    const policy = sealer.policy
    if (sealer[policy] === running[policy]) continue
    const image = kept.find(sealer)
    const { mrenclave, mrsigner } = image ?? sealer
    const key = `${mrenclave} ${mrsigner}`
    found.set(key, { mrenclave, slots: [...(found.get(key)?.slots ?? []), slot], kept: image })
  }
  return [...found.values()]
}

/** One predecessor at a time, started when it is asked for the first time; and what has been inherited. */
export class Succession {
  #started: { readonly of: KeptEnclave; readonly enclave: Enclave } | null = null
  /** By keyslot: sealed by the enclave that runs, not saved yet. */
  readonly #inherited = new Map<number, Uint8Array>()

  /** Of `before`, the enclave with this MRENCLAVE. Rejects with PREDECESSOR_MISSING (exit 2). */
  async start(name: string, mrenclave: string, before: readonly SealedBefore[]): Promise<Enclave> {
    const of = before.find((each) => each.mrenclave === mrenclave && each.kept !== null)?.kept ?? null
    const started = this.#started
    if (of !== null && started?.enclave.alive === true && isSame(started.of, of)) return started.enclave
    await this.end()
    const enclave = of === null ? null : await of.open()
    if (of === null || enclave === null) {
      throw new TresorError(
        "PREDECESSOR_MISSING",
        Exit.denied,
        `Cannot ask enclave ${mrenclave.slice(0, 16)}… for ${name}: its image is not on this machine any more, or damaged; ` +
          "the recovery key opens the volume (`tresor recover`)",
      )
    }
    this.#started = { of, enclave }
    return enclave
  }

  /** The keyslot whose salt `successor` has sealed now. Rejects as both enclaves decide. */
  async succeed(sealed: SealedRequest, header: Header, successor: Enclave): Promise<number> {
    const predecessor = this.#started!.enclave
    const shown = await introduce(successor, predecessor)
    const { handover, slot } = await predecessor.bequeath(sealed, header, shown, INHERITED_POLICY)
    this.#inherited.set(slot, await successor.inherit(handover))
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
    await started?.enclave.close()
  }
}

const isSame = (a: KeptEnclave, b: KeptEnclave): boolean => a.mrenclave === b.mrenclave && a.mrsigner === b.mrsigner
