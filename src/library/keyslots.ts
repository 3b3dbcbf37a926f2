/** Keyslots of a volume, whether it is open or not. */
import { addKeyslot } from "../keyslots/add.ts"
import { changeKeyslot } from "../keyslots/change.ts"
import type { VolumeKeeper } from "../keyslots/parts.ts"
import { proveKeyslot } from "../keyslots/prove.ts"
import { type Removed, removeKeyslot } from "../keyslots/remove.ts"
import { type SlotStrength, slotStrengths } from "../keyslots/strength.ts"
import { type FreshOptions, freshKeyslot, withHeader, withKeeper } from "./keeper.ts"
import { audienceOf, choiceOf, type TrustOptions, type WorldOptions } from "./options.ts"
import { wiping } from "./secrets.ts"

export interface KeyslotsOptions extends TrustOptions, WorldOptions {
  /** Path of a detached header. */
  readonly header?: string
}

export interface NewKeyslot extends FreshOptions {
  /** Any passphrase of the volume; wiped by the call. */
  readonly existing: Uint8Array
  /** The new one; wiped by the call. */
  readonly fresh: Uint8Array
  /** The keyslot of `existing`, 0 to 31; default: those that open are looked for. */
  readonly keySlot?: number
  /** The new keyslot, 0 to 31; default: the first free one. */
  readonly newKeySlot?: number
}

/**
 * Every change is one crash-safe change of the header, under cryptsetup's lock. All throw TresorError: ENCLAVE_PASSPHRASE
 * (exit 2), KEYSLOT_TAKEN, KEYSLOTS_FULL (exit 1), LUKS2_TAMPERED (exit 4).
 */
export class Keyslots {
  readonly path: string
  readonly #options: KeyslotsOptions

  constructor(path: string, options: KeyslotsOptions) {
    this.path = path
    this.#options = options
  }

  #with<T>(work: (keeper: VolumeKeeper) => Promise<T>): Promise<T> {
    const { path } = this
    const place = { path, header: this.#options.header }
    return withKeeper(place, choiceOf(this.#options), audienceOf(this.#options), work)
  }

  /** Keyslots of the volume key, and what it takes to guess their passphrases from a copy of the disk. */
  list(): Promise<readonly SlotStrength[]> {
    const { warn } = audienceOf(this.#options)
    const place = { path: this.path, header: this.#options.header }
    return withHeader(place, { readOnly: true, warn }, async ({ header }) => slotStrengths(header.metadata))
  }

  /** The keyslot that opens with `passphrase`, which is wiped; nothing is written. */
  test(passphrase: Uint8Array, keySlot: number | null = null): Promise<number> {
    return wiping([passphrase], () =>
      this.#with((keeper) => proveKeyslot(keeper, { secret: passphrase, slot: keySlot })),
    )
  }

  /** Adds a keyslot; returns its number. */
  add(options: NewKeyslot): Promise<number> {
    return this.#renew(options, async (...parts) => (await addKeyslot(...parts)).slot)
  }

  /** Adds a keyslot for the new passphrase and destroys the one of the existing. */
  change(options: NewKeyslot): Promise<{ readonly slot: number; readonly removed: number }> {
    return this.#renew(options, changeKeyslot)
  }

  #renew<T>(options: NewKeyslot, operation: (...parts: Parameters<typeof addKeyslot>) => Promise<T>): Promise<T> {
    const { existing, fresh, keySlot = null, newKeySlot = null } = options
    return wiping([existing, fresh], () =>
      this.#with(async (keeper) => {
        const made = await freshKeyslot(keeper.enclave, options, { secret: fresh, slot: newKeySlot })
        return operation(keeper, { secret: existing, slot: keySlot }, made)
      }),
    )
  }

  /**
   * Destroys keyslot `keySlot`, or the one that `passphrase` opens; any passphrase of the volume proves, and is wiped. Throws
   * KEYSLOT_LAST (exit 1) for the last one, unless `force`.
   */
  remove(
    passphrase: Uint8Array,
    { keySlot = null, force = false }: { readonly keySlot?: number | null; readonly force?: boolean } = {},
  ): Promise<Removed> {
    return wiping([passphrase], () =>
      this.#with((keeper) => removeKeyslot(keeper, passphrase, { slot: keySlot, force })),
    )
  }
}

/**
 * The keyslots of the volume at `path`, once its header could be read. Throws as the header: STORE_MISSING, NOT_LUKS,
 * LUKS2_BROKEN (exit 4).
 *
 * @example
 * await (await keyslots("disk.img")).add({ existing, fresh, portable: true })
 */
export async function keyslots(path: string, options: KeyslotsOptions = {}): Promise<Keyslots> {
  const found = new Keyslots(path, options)
  await found.list()
  return found
}
