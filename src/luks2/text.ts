/**
 * Text that was bytes and has to become the same bytes again. LUKS2 promises
 * UTF-8 nowhere: a byte that is not UTF-8 becomes half a surrogate pair, U+DC80 to
 * U+DCFF, which no text of people's holds (Python's "surrogateescape", PEP
 * 383). Pure.
 */
import { concat } from "../base/bytes.ts"

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()
const ESCAPE = 0xdc00

/** Bytes of the UTF-8 character at `at` (RFC 3629, section 4); 0 when there is none. */
function characterSize(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  const size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  for (let index = 1; index < size; index++) {
    const next = bytes[at + index]
    if (next === undefined || next < (index === 1 ? low : 0x80) || next > (index === 1 ? high : 0xbf)) return 0
  }
  return size
}

export function bytesToText(bytes: Uint8Array): string {
  const parts: string[] = []
  let start = 0
  for (let at = 0; at < bytes.length; ) {
    const size = characterSize(bytes, at)
    if (size > 0) {
      at += size
      continue
    }
    parts.push(strict.decode(bytes.subarray(start, at)), String.fromCharCode(ESCAPE + bytes[at]!))
    start = ++at
  }
  return parts.join("") + strict.decode(bytes.subarray(start))
}

export function textToBytes(text: string): Uint8Array {
  const escapes = /([\udc80-\udcff])/u
  if (!escapes.test(text)) return encoder.encode(text)
  const parts = text
    .split(escapes)
    .map((part) => (escapes.test(part) ? Uint8Array.of(part.charCodeAt(0) - ESCAPE) : encoder.encode(part)))
  return concat(...parts)
}
