/**
 * Recovery keys in systemd-cryptenroll's spelling: 32 bytes as 64 modhex
 * letters in eight groups joined by dashes, 71 bytes of text, which is the
 * keyslot's passphrase. Bytes throughout: a key is never a string. Pure.
 */

/** The token that marks a recovery key's keyslot. */
export const RECOVERY_TOKEN = "systemd-recovery"

const ALPHABET = new TextEncoder().encode("cbdefghijklnrtuv")
const DASH = 0x2d
const SPACES = [0x20, 0x09, 0x0a, 0x0d]
const KEY_SIZE = 32
const GROUP = 8
const TEXT_SIZE = 2 * KEY_SIZE + (2 * KEY_SIZE) / GROUP - 1

function spell(nibbles: Uint8Array): Uint8Array {
  const text = new Uint8Array(TEXT_SIZE)
  let at = 0
  nibbles.forEach((nibble, index) => {
    if (index > 0 && index % GROUP === 0) text[at++] = DASH
    text[at++] = ALPHABET[nibble]!
  })
  return text
}

/** 32 bytes -> 71 bytes of text, the caller's to wipe. Throws RangeError for another size. */
export function encodeRecoveryKey(key: Uint8Array): Uint8Array {
  if (key.length !== KEY_SIZE) throw new RangeError(`a recovery key of ${key.length} bytes`)
  const nibbles = new Uint8Array(2 * KEY_SIZE)
  try {
    key.forEach((byte, index) => {
      nibbles[2 * index] = byte >> 4
      nibbles[2 * index + 1] = byte & 15
    })
    return spell(nibbles)
  } finally {
    nibbles.fill(0)
  }
}

/** 71 bytes of text for 256 random bits; the caller's to wipe. */
export function makeRecoveryKey(): Uint8Array {
  const random = crypto.getRandomValues(new Uint8Array(KEY_SIZE))
  try {
    return encodeRecoveryKey(random)
  } finally {
    random.fill(0)
  }
}

const isSpace = (byte: number): boolean => byte === DASH || SPACES.includes(byte)
const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)

/** The typed text in groups: as the separators have it, or eight letters each where there are none. */
function groupsOf(typed: Uint8Array): Uint8Array[] {
  const groups: Uint8Array[] = []
  let start = 0
  for (let at = 0; at <= typed.length; at++) {
    if (at < typed.length && !isSpace(typed[at]!)) continue
    if (at > start) groups.push(typed.subarray(start, at))
    start = at + 1
  }
  if (groups.length !== 1) return groups
  const [whole] = groups
  const count = Math.ceil(whole!.length / GROUP)
  return Array.from({ length: count }, (_, index) => whole!.subarray(index * GROUP, (index + 1) * GROUP))
}

/**
 * What is wrong with a typed recovery key, group by group; empty when it has
 * the form of one. With `expected`, the text it must be, also where it differs.
 * Says where, never what.
 */
export function recoveryKeyFaults(typed: Uint8Array, expected: Uint8Array | null = null): readonly string[] {
  const groups = groupsOf(typed)
  const wanted = expected === null ? [] : groupsOf(expected)
  const count = (2 * KEY_SIZE) / GROUP
  const faults = groups.slice(0, count).flatMap((group, index) => {
    const name = `group ${index + 1}`
    if (group.length !== GROUP) return [`${name} has ${group.length} letters, not ${GROUP}`]
    const odd = group.findIndex((byte) => !ALPHABET.includes(lower(byte)))
    if (odd >= 0) return [`${name} has a letter that no recovery key has, its ${ORDINALS[odd]}`]
    const other = wanted[index]
    return other === undefined || group.every((byte, at) => lower(byte) === other[at]) ? [] : [`${name} is another`]
  })
  return groups.length === count ? faults : [...faults, `there are ${groups.length} groups, not ${count}`]
}

const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "last"]

/** The 32 bytes of a canonical text, the caller's to wipe. Throws RangeError for anything else. */
export function decodeRecoveryKey(text: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_SIZE)
  let at = 0
  for (const byte of text) {
    if (byte === DASH) continue
    const nibble = ALPHABET.indexOf(byte)
    if (nibble < 0 || at === 2 * KEY_SIZE) throw new RangeError("not a recovery key")
    key[at >> 1]! |= at % 2 === 0 ? nibble << 4 : nibble
    at++
  }
  if (at !== 2 * KEY_SIZE) throw new RangeError("not a recovery key")
  return key
}

/**
 * The canonical text of a key typed in any case, with or without dashes and
 * spaces; `null` if it is not one. The caller wipes both.
 */
export function normalizeRecoveryKey(typed: Uint8Array): Uint8Array | null {
  const nibbles = new Uint8Array(2 * KEY_SIZE)
  let count = 0
  try {
    for (const byte of typed) {
      if (isSpace(byte)) continue
      const nibble = ALPHABET.indexOf(lower(byte))
      if (nibble < 0 || count === nibbles.length) return null
      nibbles[count++] = nibble
    }
    return count === nibbles.length ? spell(nibbles) : null
  } finally {
    nibbles.fill(0)
  }
}
