/** What it would take to guess a keyslot's passphrase from a copy of the disk. Pure. */
import type { LuksKeyslot, Metadata } from "../metadata.ts"
import { isLuksKeyslot, tresorToken, volumeSlots } from "./metadata-edit.ts"

export type Strength = "strong" | "passphrase" | "weak"

export interface SlotStrength {
  readonly slot: number
  readonly kind: "tresor" | "recovery" | "portable"
  /** Types of the tokens that name the slot. */
  readonly tokens: readonly string[]
  readonly strength: Strength
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
        return { slot, kind: "tresor", tokens, strength: "strong", why: `sealed to a machine: guessing takes ${what}` }
      }
      if (tokens.includes("systemd-recovery")) {
        return { slot, kind: "recovery", tokens, strength: "strong", why: "256 random bits" }
      }
      if (tokens.length > 0) {
        return { slot, kind: "portable", tokens, strength: "strong", why: `a key kept by ${tokens.join(", ")}` }
      }
      const keyslot = metadata.keyslots.get(slot)!
      if (!isLuksKeyslot(keyslot)) throw new TypeError(`keyslot ${slot} holds no volume key`)
      return { slot, kind: "portable", tokens, ...ofKdf(keyslot.kdf) }
    })
}
