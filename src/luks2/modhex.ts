/**
 * Recovery keys in systemd-cryptenroll's spelling: 32 bytes as 64 modhex
 * letters in eight groups joined by dashes, 71 bytes of text, which is the
 * keyslot's passphrase. Bytes throughout: a key is never a string. Pure.
 */

const ALPHABET = new TextEncoder().encode("cbdefghijklnrtuv")
const DASH = 0x2d
const SPACES = [0x20, 0x09, 0x0a, 0x0d]
export const KEY_SIZE = 32
const GROUP = 8
export const TEXT_SIZE = 2 * KEY_SIZE + (2 * KEY_SIZE) / GROUP - 1

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

/**
 * The canonical text of a key typed in any case, with or without dashes and
 * spaces; `null` when it is none. The caller wipes both.
 */
export function normalizeRecoveryKey(typed: Uint8Array): Uint8Array | null {
  const nibbles = new Uint8Array(2 * KEY_SIZE)
  let count = 0
  try {
    for (const byte of typed) {
      if (byte === DASH || SPACES.includes(byte)) continue
      const nibble = ALPHABET.indexOf(byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)
      if (nibble < 0 || count === nibbles.length) return null
      nibbles[count++] = nibble
    }
    return count === nibbles.length ? spell(nibbles) : null
  } finally {
    nibbles.fill(0)
  }
}
