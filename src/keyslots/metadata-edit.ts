/** Changes of the JSON area that keep it whole: no token or digest names a keyslot that is gone. Pure. */

import { Exit, TresorError } from "../base/errors.ts"
import { extra } from "../luks2/json.ts"
import { TOKENS } from "../luks2/limits.ts"
import type { ForeignToken, LuksDigest, LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import { RECOVERY_TOKEN } from "../luks2/recovery-key.ts"
import { isTresorToken, TRESOR_TOKEN, type TresorToken } from "../luks2/tresor-token.ts"
import type { HeaderMacs } from "../luks2/types.ts"

export type Token = TresorToken | ForeignToken

export function isLuksKeyslot(keyslot: NonNullable<ReturnType<Metadata["keyslots"]["get"]>>): keyslot is LuksKeyslot {
  return !("foreign" in keyslot)
}

export function inactive(slot: number): TresorError {
  return new TresorError(
    "KEYSLOT_INACTIVE",
    Exit.badArguments,
    `Keyslot ${slot} is not active; \`tresor key list\` lists those that are`,
  )
}

/** The digest of segment 0: its keyslots hold the volume key; others are unbound. */
function segmentDigest(metadata: Metadata): readonly [number, LuksDigest] {
  const found = [...metadata.digests].find(([, digest]) => digest.segments.includes(0))
  if (found !== undefined) return found
  throw new TresorError("LUKS2_NO_DIGEST", Exit.wrongDevice, "Cannot use this header: no digest belongs to its segment")
}

/** Numbers of the keyslots that hold the volume key, ascending. */
export function volumeSlots(metadata: Metadata): readonly number[] {
  const [, { keyslots }] = segmentDigest(metadata)
  return keyslots
    .filter((slot) => {
      const keyslot = metadata.keyslots.get(slot)
      return keyslot !== undefined && isLuksKeyslot(keyslot)
    })
    .sort((a, b) => a - b)
}

export function tresorToken(metadata: Metadata, slot: number): TresorToken | null {
  for (const token of metadata.tokens.values()) {
    if (isTresorToken(token) && token.keyslots.includes(slot)) return token
  }
  return null
}

/** Numbers of the keyslots marked by a token of `type`, ascending. */
export function slotsOfTokens(metadata: Metadata, type: string): readonly number[] {
  const slots = [...metadata.tokens.values()].filter((token) => token.type === type).flatMap((token) => token.keyslots)
  return [...new Set(slots)].sort((a, b) => a - b)
}

/** Member of a recovery key's token: `tresor release` may take it away again. */
const ADOPTED = "tresor-adopted"

/** The mark of a recovery keyslot as systemd-cryptenroll makes it. */
export function recoveryToken(slot: number, adopted: boolean): ForeignToken {
  return {
    type: RECOVERY_TOKEN,
    keyslots: [slot],
    foreign: true,
    ...(adopted ? { [extra]: new Map([[ADOPTED, "true"]]) } : {}),
  }
}

/** Recovery keyslots that adopt made. */
export function adoptedRecoverySlots(metadata: Metadata): readonly number[] {
  return [...metadata.tokens.values()]
    .filter((token) => token.type === RECOVERY_TOKEN && token[extra]?.has(ADOPTED) === true)
    .flatMap((token) => token.keyslots)
}

export function hasTresorToken(metadata: Metadata): boolean {
  return [...metadata.tokens.values()].some(isTresorToken)
}

function mapValues<K, V>(map: ReadonlyMap<K, V>, change: (value: V, key: K) => V): Map<K, V> {
  return new Map([...map].map(([key, value]) => [key, change(value, key)]))
}

/** A keyslot of segment 0's digest. */
export function putKeyslot(metadata: Metadata, slot: number, keyslot: LuksKeyslot): Metadata {
  const [number, digest] = segmentDigest(metadata)
  return {
    ...metadata,
    keyslots: new Map([...metadata.keyslots, [slot, keyslot]]),
    digests: new Map([...metadata.digests, [number, { ...digest, keyslots: [...digest.keyslots, slot] }]]),
  }
}

/** Throws LUKS2_TOKENS_FULL (exit 4). */
export function addToken(metadata: Metadata, token: Token): Metadata {
  for (let number = 0; number < TOKENS; number++) {
    if (!metadata.tokens.has(number)) {
      return { ...metadata, tokens: new Map([...metadata.tokens, [number, token]]) }
    }
  }
  throw new TresorError(
    "LUKS2_TOKENS_FULL",
    Exit.wrongDevice,
    `Cannot add a token: all ${TOKENS} are in use; remove one with \`tresor token remove\``,
  )
}

/** All tresor tokens of a volume carry the same MACs. */
export function setMacs(metadata: Metadata, mac: HeaderMacs): Metadata {
  return {
    ...metadata,
    tokens: mapValues(metadata.tokens, (token) => (isTresorToken(token) ? { ...token, mac } : token)),
  }
}

/** The types of token that mean nothing without their keyslot. */
const BOUND_TOKENS: ReadonlySet<string> = new Set([TRESOR_TOKEN, RECOVERY_TOKEN])

/**
 * Without a keyslot, its MAC and what names it. A token that named only this
 * keyslot goes with it when it is ours or a recovery key's mark; another
 * program's stays without keyslots, as cryptsetup leaves it.
 */
export function dropKeyslot(metadata: Metadata, slot: number): Metadata {
  const without = (slots: readonly number[]) => slots.filter((each) => each !== slot)
  const tokens = new Map<number, Token>()
  for (const [number, token] of metadata.tokens) {
    const keyslots = without(token.keyslots)
    const orphaned = keyslots.length === 0 && token.keyslots.length > 0
    if (orphaned && BOUND_TOKENS.has(token.type)) continue
    const changed = keyslots.length === token.keyslots.length ? token : { ...token, keyslots }
    tokens.set(number, isTresorToken(changed) ? { ...changed, mac: dropMac(changed.mac, slot) } : changed)
  }
  const keyslots = new Map(metadata.keyslots)
  keyslots.delete(slot)
  const digests = mapValues(metadata.digests, (digest) =>
    digest.keyslots.includes(slot) ? { ...digest, keyslots: without(digest.keyslots) } : digest,
  )
  // A digest of nothing, left by an unbound keyslot, would only be refused by cryptsetup.
  for (const [number, digest] of digests) {
    if (digest.keyslots.length === 0 && digest.segments.length === 0) digests.delete(number)
  }
  return { ...metadata, keyslots, tokens, digests }
}

function dropMac(mac: HeaderMacs, slot: number): HeaderMacs {
  const keyslots = new Map(mac.keyslots)
  keyslots.delete(slot)
  return { ...mac, keyslots }
}
