/**
 * Limits of the KDF costs that are run because a header asks for them. A header is
 * anybody's to write, and 2^32-1 iterations would hold the enclave's heap for
 * hours; a keyslot beyond these bounds is tried only when it is named. Pure.
 */
import type { Digest, Kdf } from "./types.ts"

/** PBKDF2 iterations: about a minute of SHA-256 on one core; cryptsetup's default aims at two seconds. */
const MOST_ITERATIONS = 1 << 27
/** Argon2, KiB times passes: 32 passes of 4 GiB, cryptsetup's most memory. */
const MOST_PASSES_KIB = 32 * (4 << 20)

const costly = (kdf: Kdf): boolean =>
  kdf.type === "pbkdf2" ? kdf.iterations > MOST_ITERATIONS : kdf.time * kdf.memoryKib > MOST_PASSES_KIB

interface Costs {
  readonly kdf: Kdf
  readonly passphraseKdf: Kdf | null
}

/** Why a keyslot is not tried unless it is named, as a phrase; `null`: it is. */
export function tooCostly({ kdf, passphraseKdf }: Costs, { iterations }: Pick<Digest, "iterations">): string | null {
  if (iterations > MOST_ITERATIONS) return `its digest asks for ${iterations} iterations`
  const most = passphraseKdf !== null && costly(passphraseKdf) ? passphraseKdf : costly(kdf) ? kdf : null
  if (most === null) return null
  return most.type === "pbkdf2"
    ? `its KDF asks for ${most.iterations} iterations`
    : `its KDF asks for ${most.time} passes over ${most.memoryKib} KiB`
}
