/**
 * Text of others (labels, names, errors of a server) in what we print. A
 * control character could move the cursor, retitle the window, answer in our
 * place or hide a line; a bidi override shows a text in another order than it
 * has. All of them are spelled out. Pure.
 */

/** Control and format characters, line separators, halves of surrogate pairs, tags and what is reserved beside them. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u{e0000}-\u{e0fff}]/gu

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

function spell(character: string): string {
  const code = character.codePointAt(0)!
  const hex = code.toString(16)
  if (code < 0x100) return SHORT[character] ?? `\\x${hex.padStart(2, "0")}`
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\u{${hex}}`
}

/** For one line: nothing in it ends the line. */
export function visibleLine(text: string): string {
  return text.replace(HIDDEN, spell)
}

/** For text of our own lay-out: newline and tab stay. */
export function visibleText(text: string): string {
  return text.replace(HIDDEN, (character) => (character === "\n" || character === "\t" ? character : spell(character)))
}

/** JSON with the same characters as \u escapes: another text of the same value. */
export function visibleJson(json: string): string {
  return json.replace(HIDDEN, (character) =>
    // Between tokens JSON.stringify puts newlines; inside strings it has escaped all below U+0020.
    character === "\n"
      ? character
      : Array.from(
          { length: character.length },
          (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
        ).join(""),
  )
}
