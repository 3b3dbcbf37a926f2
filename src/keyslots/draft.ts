/**
 * A header that is being changed: what was read, what the enclave made, what
 * is to be written and wiped. Nothing touches the device before
 * HeaderStore.update takes `change()`.
 */

import { Exit, TresorError } from "../base/errors.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import type { AreaWrite, HeaderChange, HeaderStore } from "../header/header-store.ts"
import { areaSize, findGap, freeSlot } from "../luks2/areas.ts"
import { extra } from "../luks2/json.ts"
import { CIPHER, STRIPES } from "../luks2/limits.ts"
import { madeMember } from "../luks2/made.ts"
import type { ForeignToken, LuksHeader, LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import { TRESOR_TOKEN, type TresorToken } from "../luks2/tresor-token.ts"
import type { Header, HeaderMacs, Kdf, KeyslotParameters, MadeKeyslot } from "../luks2/types.ts"
import { affordable, enclaveHeader, triedByDefault } from "../luks2/volume-header.ts"
import {
  addToken,
  dropKeyslot,
  inactive,
  isLuksKeyslot,
  putKeyslot,
  recoveryToken,
  setMacs,
  volumeSlots,
} from "./metadata-edit.ts"
import { type FreshKeyslot, freshParameters, type Keeper, type Proof, sealPolicy, type VolumeKeeper } from "./parts.ts"
import { explainUnlock, untried } from "./seal-status.ts"

function luksKdf(kdf: Kdf, salt: Uint8Array): LuksKeyslot["kdf"] {
  return kdf.type === "pbkdf2"
    ? { type: kdf.type, hash: kdf.hash, iterations: kdf.iterations, salt }
    : { type: kdf.type, time: kdf.time, memoryKib: kdf.memoryKib, cpus: kdf.lanes, salt }
}

export function luksKeyslot(parameters: KeyslotParameters, made: MadeKeyslot): LuksKeyslot {
  return {
    type: "luks2",
    keySize: parameters.keySize,
    af: { type: "luks1", stripes: STRIPES, hash: parameters.afHash },
    area: {
      type: "raw",
      offset: parameters.areaOffset,
      size: parameters.areaSize,
      encryption: CIPHER,
      keySize: parameters.areaKeySize,
    },
    kdf: luksKdf(parameters.kdf, made.salt),
    priority: null,
  }
}

/** The token that goes with a new keyslot; a portable one has none. */
export function freshToken(
  fresh: FreshKeyslot,
  slot: number,
  made: MadeKeyslot,
  identity: EnclaveIdentity,
  mac: HeaderMacs,
): TresorToken | ForeignToken | null {
  if (fresh.type === "portable") return null
  if (fresh.type === "recovery") return recoveryToken(slot, fresh.adopted === true)
  const { mrsigner, mrenclave, isvProdId, isvSvn, backend } = identity
  if (made.sealed === null) throw new TypeError("a tresor keyslot without its sealed salt")
  return {
    type: TRESOR_TOKEN,
    keyslots: [slot],
    version: 1,
    kdf: fresh.kdf,
    sealed: made.sealed,
    enclave: { mrsigner, mrenclave, isvProdId, isvSvn, policy: fresh.policy, backend },
    mac,
    ...(fresh.made === undefined ? {} : { [extra]: new Map([madeMember(fresh.made)]) }),
  }
}

export class Draft {
  readonly #writes: AreaWrite[] = []
  readonly #wipes: { readonly offset: bigint; readonly size: bigint }[] = []
  readonly #areas: Map<number, Uint8Array>
  readonly #path: string
  #header: LuksHeader

  constructor(header: LuksHeader, areas: ReadonlyMap<number, Uint8Array>, path: string) {
    this.#header = header
    this.#areas = new Map(areas)
    this.#path = path
  }

  /** Reads the areas of the keyslots that hold the volume key. */
  static async read(store: HeaderStore, header: LuksHeader, path: string): Promise<Draft> {
    const areas = new Map<number, Uint8Array>()
    for (const slot of volumeSlots(header.metadata)) areas.set(slot, await store.readArea(slot))
    return new Draft(header, areas, path)
  }

  get header(): LuksHeader {
    return this.#header
  }

  get metadata(): Metadata {
    return this.#header.metadata
  }

  set metadata(metadata: Metadata) {
    this.#header = { ...this.#header, metadata }
  }

  /** The volume key's size in bytes. */
  get keySize(): 32 | 64 {
    return this.enclaveHeader(() => true).segment.keySize
  }

  enclaveHeader(tried: (slot: number) => boolean): Header {
    return enclaveHeader(this.#header, this.#areas, tried)
  }

  /**
   * Keyslots a passphrase may open: the one named, else all but those of
   * priority 0 and those that would take hours. Throws KEYSLOT_INACTIVE (exit 1),
   * KEYSLOT_MISSING (exit 1) or KEYSLOT_COSTLY (exit 2).
   */
  slotsToTry(named: number | null): readonly number[] {
    const slots = volumeSlots(this.metadata)
    if (named !== null) {
      if (slots.includes(named)) return [named]
      throw inactive(named)
    }
    return this.#some(slots.filter(triedByDefault(this.#header)))
  }

  /**
   * Of `slots` those that do not take hours to try, whatever their priority; if there are none, the one named. Throws
   * KEYSLOT_COSTLY (exit 2), KEYSLOT_MISSING (exit 1).
   */
  affordable(slots: readonly number[], named: number | null = null): readonly number[] {
    const cheap = slots.filter(affordable(this.#header))
    return this.#some(cheap.length === 0 && named !== null ? [named] : cheap)
  }

  #some(slots: readonly number[]): readonly number[] {
    if (slots.length > 0) return slots
    const skipped = untried(this.enclaveHeader(() => false))
    if (skipped !== null) throw new TresorError("KEYSLOT_COSTLY", Exit.denied, `Cannot use ${this.#path}: ${skipped}`)
    throw new TresorError("KEYSLOT_MISSING", Exit.badArguments, `Cannot use ${this.#path}: it has no usable keyslot`)
  }

  /** The header with the keyslots marked that `proof` may open. */
  tried(proof: Proof): Header {
    const slots = this.slotsToTry(proof.slot)
    return this.enclaveHeader((slot) => slots.includes(slot))
  }

  /** Proves `proof` and makes a keyslot for `fresh`. Returns the new keyslot's number and the one that opened. */
  async enrol(
    { enclave, seal }: Keeper,
    proof: Proof,
    fresh: FreshKeyslot,
  ): Promise<{ readonly slot: number; readonly proved: number }> {
    const header = this.tried(proof)
    const slot = freeSlot(this.metadata, fresh.slot)
    const { keySize } = header.segment
    const size = areaSize(keySize)
    const offset = findGap(this.#header, size)
    const parameters = freshParameters(fresh, slot, keySize, { offset, size })
    const policy = sealPolicy(fresh)
    const sealed = await seal(
      { purpose: "enrol", header, slot: proof.slot, fresh: parameters, policy },
      { existing: proof.secret, fresh: fresh.secret },
    )
    const made = await enclave.enrol(sealed, header, parameters, policy).catch((error: unknown) => {
      throw explainUnlock(error, header, enclave.identity, this.#path)
    })
    this.#areas.set(slot, made.keyslot.area)
    this.#writes.push({ offset, bytes: made.keyslot.area })
    let metadata = putKeyslot(this.metadata, slot, luksKeyslot(parameters, made.keyslot))
    const token = freshToken(fresh, slot, made.keyslot, enclave.identity, made.macs)
    if (token !== null) metadata = addToken(metadata, token)
    this.metadata = setMacs(metadata, made.macs)
    return { slot, proved: made.slot }
  }

  /**
   * Proves that `secret` opens one of `slots` and that the segment is the one
   * authenticated; no key stays in the enclave. Returns the keyslot that opened.
   */
  async prove({ enclave, seal }: Keeper, secret: Uint8Array, slots: readonly number[]): Promise<number> {
    const header = this.enclaveHeader((slot) => slots.includes(slot))
    // A single one is named in the sealed request, so that nobody tries it on another.
    const slot = slots.length === 1 ? slots[0]! : null
    const sealed = await seal({ purpose: "unlock", header, slot }, { existing: secret })
    const opened = await enclave.unlock(sealed, header).catch((error: unknown) => {
      throw explainUnlock(error, header, enclave.identity, this.#path)
    })
    enclave.closeVolume(opened.handle)
    return opened.slot
  }

  /** Drops a keyslot; its area is wiped once the header without it is on stable storage. */
  remove(slot: number): void {
    const keyslot = this.metadata.keyslots.get(slot)
    if (keyslot === undefined) throw inactive(slot)
    this.#wipes.push({ offset: keyslot.area.offset, size: keyslot.area.size })
    this.#areas.delete(slot)
    this.metadata = dropKeyslot(this.metadata, slot)
  }

  /** A keyslot takes over another's place in the order in which keyslots are tried. */
  inheritPriority(from: number, to: number): void {
    const [old, fresh] = [this.metadata.keyslots.get(from), this.metadata.keyslots.get(to)]
    if (old === undefined || fresh === undefined || !isLuksKeyslot(old) || !isLuksKeyslot(fresh)) return
    const keyslots = new Map([...this.metadata.keyslots, [to, { ...fresh, priority: old.priority }] as const])
    this.metadata = { ...this.metadata, keyslots }
  }

  change(): HeaderChange {
    return { header: this.#header, writeAreas: this.#writes, wipeAreas: this.#wipes }
  }

  /** What a new volume is formatted with. */
  get writes(): readonly AreaWrite[] {
    return this.#writes
  }
}

/**
 * Runs `work` on the header as it is now, under the exclusive lock, and writes
 * what came of it in one step: all of it or nothing.
 */
export async function edit<T>({ store, path }: VolumeKeeper, work: (draft: Draft) => Promise<T>): Promise<T> {
  const results: T[] = []
  await store.update(async (header) => {
    const draft = await Draft.read(store, header, path)
    results.push(await work(draft))
    return draft.change()
  })
  return results.at(-1)!
}
