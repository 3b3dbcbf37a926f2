/**
 * A header that Tresor cannot have written. The MACs show every change to
 * whoever has a passphrase; these changes show without one, and they are the
 * ones that make another program write plaintext, or for another's key
 * (CVE-2025-59054): nobody is sent to another program with such a header. Pure.
 */

import { HashType } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { CIPHER } from "./limits.ts"
import type { Metadata } from "./metadata.ts"
import { isReencryption } from "./reencryption.ts"
import { TRESOR_TOKEN } from "./tresor-token.ts"
import type { Hash } from "./types.ts"

/** One the enclave has. */
export const isHash = (text: string): text is Hash => Object.hasOwn(HashType, text)
/** Bytes of a volume key the enclave takes. */
export const isKeySize = (size: number): size is 32 | 64 => size === 32 || size === 64

export interface Tampering {
  /** One clause. */
  readonly fact: string
  /** Whether it cannot be the owner's choice: the volume has a Tresor token. */
  readonly certain: boolean
}

/** cryptsetup's rule (crypt_is_cipher_null), and a little more. */
const encryptsNothing = (encryption: string | null): boolean => encryption?.includes("null") === true

/** The first cipher that encrypts nothing, of data or of a keyslot. */
function ofNull({ segments, keyslots }: Metadata): string | null {
  const ciphers = [
    ...[...segments].map(([number, { encryption }]) => [`segment ${number}`, encryption] as const),
    ...[...keyslots].map(([slot, { area }]) => [`keyslot ${slot}`, area.encryption] as const),
  ]
  const found = ciphers.find(([, encryption]) => encryptsNothing(encryption))
  return found === undefined ? null : `${found[0]} has the cipher ${found[1]}, which encrypts nothing`
}

/** Why the enclave cannot open the data of a volume, as one clause; `null` when it can. */
export function unsupported(metadata: Metadata): string | null {
  const { segments, digests, keyslots, config } = metadata
  const moving = config.requirements.some(isReencryption)
  for (const [number, { type, encryption, integrity }] of segments) {
    if (type !== "crypt" && !moving) return `segment ${number} is of type ${type}`
    if (type === "crypt" && encryption !== CIPHER) {
      return `segment ${number} has the cipher ${encryption}, and ${CIPHER} is supported`
    }
    if (integrity) return `segment ${number} has authenticated encryption (integrity)`
  }
  if (moving) return null
  if (segments.size !== 1 || !segments.has(0)) return "it has more than one segment"
  const digest = [...digests.values()].find((each) => each.segments.includes(0))
  if (digest === undefined) return "no digest belongs to its segment"
  if (digest.fault !== undefined) return digest.fault.fact
  if (!isHash(digest.hash)) return `its digest has the hash ${digest.hash}`
  for (const slot of digest.keyslots) {
    const keyslot = keyslots.get(slot)
    if (keyslot === undefined || "foreign" in keyslot || isKeySize(keyslot.keySize)) continue
    return `its volume key has ${keyslot.keySize * 8} bits`
  }
  return null
}

/**
 * What the owner's programs would not have written; `null` when there is no
 * such thing. A Tresor passphrase is made only on a volume the enclave opens,
 * so beside a Tresor token, however damaged, everything else is another's work.
 * Without one, only a cipher that encrypts nothing is told.
 */
export function tampering(metadata: Metadata): Tampering | null {
  const certain = [...metadata.tokens.values()].some(({ type }) => type === TRESOR_TOKEN)
  const nothing = ofNull(metadata)
  if (nothing !== null) return { fact: nothing, certain }
  const fact = certain ? unsupported(metadata) : null
  return fact === null ? null : { fact: `${fact}, but the volume has a Tresor passphrase`, certain }
}

/** What follows "Cannot open disk.img: ". */
export function tamperingWords({ fact, certain }: Tampering): string {
  const verdict = certain ? "the header was tampered with" : "unless you chose that, the header was tampered with"
  return (
    `${verdict}: ${fact}; do not open it with another program either, it might write plaintext; ` +
    "`tresor header restore` restores a backup"
  )
}

/** Throws LUKS2_TAMPERED (exit 4). `doing`: "open disk.img". */
export function checkTampering(metadata: Metadata, doing: string): void {
  const found = tampering(metadata)
  if (found === null) return
  throw new TresorError("LUKS2_TAMPERED", Exit.wrongDevice, `Cannot ${doing}: ${tamperingWords(found)}`)
}
