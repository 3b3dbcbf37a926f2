/** Cost of guessing a keyslot's passphrase from a copy of the disk. Pure. */

import { type Made, madeOf } from "../luks2/made.ts"
import type { LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import { RECOVERY_TOKEN } from "../luks2/recovery-key.ts"
import { isLuksKeyslot, tresorToken, volumeSlots } from "./metadata-edit.ts"

/** "unknown": a token of a type that is not known here keeps the key, and what that is worth it does not say. */
export type Strength = "strong" | "passphrase" | "weak" | "unknown"

export interface SlotStrength {
  readonly slot: number
  readonly kind: "tresor" | "recovery" | "portable"
  /** Types of the tokens that name the slot. */
  readonly tokens: readonly string[]
  readonly strength: Strength
  /** Sealed keyslots: where and when; null where the token does not say. */
  readonly made: Made | null
  /** One phrase for people. */
  readonly why: string
}

/** OWASP Password Storage Cheat Sheet: PBKDF2-HMAC-SHA256 600 000, SHA-512 210 000; Argon2id 19 MiB and 2 passes. */
const PBKDF2_LEAST: Readonly<Record<string, number>> = { sha512: 210_000 }
const PBKDF2_LEAST_OTHER = 600_000
const ARGON2_LEAST = 19 * 1024 * 2

function ofKdf(kdf: LuksKeyslot["kdf"]): Pick<SlotStrength, "strength" | "why"> {
  if (kdf.type === "pbkdf2") {
    const weak = kdf.iterations < (PBKDF2_LEAST[kdf.hash] ?? PBKDF2_LEAST_OTHER)
    return {
      strength: weak ? "weak" : "passphrase",
      why: weak
        ? `pbkdf2 with ${kdf.iterations} iterations: a short passphrase is guessed from a copy of the disk`
        : `pbkdf2 with ${kdf.iterations} iterations: as strong as the passphrase, graphics cards guess fast`,
    }
  }
  const weak = kdf.memoryKib * kdf.time < ARGON2_LEAST
  const cost = `${kdf.type}, ${Math.ceil(kdf.memoryKib / 1024)} MiB, ${kdf.time} passes`
  return {
    strength: weak ? "weak" : "passphrase",
    why: weak
      ? `${cost}: a short passphrase is guessed from a copy of the disk`
      : `${cost}: as strong as the passphrase`,
  }
}

/** Tokens whose keyslot has a random key that the token, a device or a server keeps. */
const RANDOM_KEYS: Readonly<Record<string, string>> = {
  [RECOVERY_TOKEN]: "256 random bits",
  "systemd-tpm2": "a random key sealed to a TPM (systemd-tpm2)",
  "systemd-fido2": "a random key on a FIDO2 token (systemd-fido2)",
  "systemd-pkcs11": "a random key on a smart card (systemd-pkcs11)",
  clevis: "a random key kept by clevis",
}

/** What tokens say of a keyslot; null: nothing, its KDF counts. A keyring's key is a passphrase somebody put there. */
function ofTokens(types: readonly string[]): Pick<SlotStrength, "strength" | "why"> | null {
  const random = types.find((type) => Object.hasOwn(RANDOM_KEYS, type))
  if (random !== undefined) return { strength: "strong", why: RANDOM_KEYS[random]! }
  const other = types.filter((type) => type !== "luks2-keyring")
  if (other.length === 0) return null
  return { strength: "unknown", why: `a key kept by ${other.join(", ")}, of which nothing is known here` }
}

/** Keyslots of the volume key; `except` leaves out one, say the recovery key just used. */
export function slotStrengths(metadata: Metadata, except: readonly number[] = []): readonly SlotStrength[] {
  return volumeSlots(metadata)
    .filter((slot) => !except.includes(slot))
    .map((slot) => {
      const tokens = [...metadata.tokens.values()]
        .filter((token) => token.keyslots.includes(slot))
        .map(({ type }) => type)
      const token = tresorToken(metadata, slot)
      if (token !== null) {
        const { backend } = token.enclave
        const what = backend === "sgx" ? "that machine's CPU" : "that machine's secret file"
        const made = madeOf(token)
        const where = made === null ? "a machine" : `${made.host} on ${made.on}`
        return {
          slot,
          kind: "tresor",
          tokens,
          strength: "strong",
          made,
          why: `sealed to ${where}: guessing takes ${what}`,
        }
      }
      const kind = tokens.includes(RECOVERY_TOKEN) ? "recovery" : "portable"
      const told = ofTokens(tokens)
      if (told !== null) return { slot, kind, tokens, made: null, ...told }
      const keyslot = metadata.keyslots.get(slot)!
      if (!isLuksKeyslot(keyslot)) throw new TypeError(`keyslot ${slot} holds no volume key`)
      return { slot, kind, tokens, made: null, ...ofKdf(keyslot.kdf) }
    })
}
