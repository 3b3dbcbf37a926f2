/**
 * Colours, as marks in a string until it leaves. A mark holds a number that is
 * drawn at each start, so that no text of others can hold one. Pure.
 */

const OURS = crypto.getRandomValues(new Uint32Array(4)).join("")
const MARK = new RegExp(`\\x1b\\[${OURS};(\\d+)m`, "g")

export type Style = (text: string) => string

const style =
  (on: number, off: number): Style =>
  (text) =>
    `\x1b[${OURS};${on}m${text}\x1b[${OURS};${off}m`

export const bold = style(1, 22)
export const dim = style(2, 22)
export const red = style(31, 39)
export const green = style(32, 39)
export const yellow = style(33, 39)
export const cyan = style(36, 39)

/** The text without its marks. */
export function plain(text: string): string {
  return text.replace(MARK, "")
}

/** `apply` to all of a text but its marks. */
export function outside(text: string, apply: (text: string) => string): string {
  const marks = text.match(MARK) ?? []
  return text
    .split(MARK)
    .filter((_, index) => index % 2 === 0)
    .map((part, index) => apply(part) + (marks[index] ?? ""))
    .join("")
}

/** The marks as SGR codes, or left out; `between` is applied to all else. */
export function resolve(text: string, coloured: boolean, between: (text: string) => string): string {
  return text
    .split(MARK)
    .map((part, index) => (index % 2 === 0 ? between(part) : coloured ? `\x1b[${part}m` : ""))
    .join("")
}
