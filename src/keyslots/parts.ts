/** Arguments that every operation on a volume's keyslots takes. */

import type { Asked } from "../enclave/asked.ts"
import type { Enclave, SealedRequest, SealPolicy } from "../enclave/types.ts"
import type { HeaderStore } from "../header/header-store.ts"
import type { Made } from "../luks2/made.ts"
import type { LuksArea } from "../luks2/metadata.ts"
import type { Kdf, KeyslotParameters } from "../luks2/types.ts"

export interface Secrets {
  readonly existing?: Uint8Array
  readonly fresh?: Uint8Array
}

/** Encrypts secrets to an enclave that has been assessed, for what is asked only. The secrets stay the caller's to wipe. */
export type Seal = (asked: Asked, secrets: Secrets) => Promise<SealedRequest>

export interface Keeper {
  readonly enclave: Enclave
  readonly seal: Seal
}

export interface VolumeKeeper extends Keeper {
  readonly store: HeaderStore
  /** What people call the volume, in messages. */
  readonly path: string
}

/** What opens a volume: any keyslot, or the one named. */
export interface Proof {
  readonly secret: Uint8Array
  readonly slot: number | null
}

/**
 * The keyslot of a new secret. "tresor": KDF over a salt sealed to this
 * machine; "portable": one that cryptsetup opens; "recovery": 256 random bits,
 * for which any KDF will do.
 */
export type FreshKeyslot = { readonly secret: Uint8Array; readonly slot: number | null } & (
  | { readonly type: "tresor"; readonly kdf: Kdf; readonly policy: SealPolicy; readonly made?: Made }
  | { readonly type: "portable"; readonly kdf: Kdf }
  | { readonly type: "recovery"; readonly adopted?: boolean }
)

/** Its input has 256 bits of entropy: iterations would only slow down who may. */
const TRESOR_SLOT_KDF: Kdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 }
/** As systemd-cryptenroll makes it. */
const RECOVERY_SLOT_KDF: Kdf = { type: "pbkdf2", hash: "sha512", iterations: 1000 }

/** cryptsetup's default for keyslots, whatever the volume key. */
const AREA_KEY_SIZE = 64
const AF_HASH = "sha256"

export function freshParameters(
  fresh: FreshKeyslot,
  slot: number,
  keySize: 32 | 64,
  area: Pick<LuksArea, "offset" | "size">,
): KeyslotParameters {
  return {
    slot,
    kdf: fresh.type === "tresor" ? TRESOR_SLOT_KDF : fresh.type === "recovery" ? RECOVERY_SLOT_KDF : fresh.kdf,
    afHash: AF_HASH,
    areaKeySize: AREA_KEY_SIZE,
    keySize,
    areaOffset: area.offset,
    areaSize: area.size,
    passphraseKdf: fresh.type === "tresor" ? fresh.kdf : null,
  }
}

/** Seal policy of a request that makes no seal: the enclave wants one named. */
export function sealPolicy(fresh: FreshKeyslot): SealPolicy {
  return fresh.type === "tresor" ? fresh.policy : "mrsigner"
}
