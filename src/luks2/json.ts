/**
 * JSON of which only a part is ours: objects are taken apart into the text of
 * their members, so that what we do not know is written back byte for byte.
 */
import { endOfString, parseJson } from "../base/json.ts"

/** Members of an object that are not ours: name -> text of the value. */
export const extra: unique symbol = Symbol("members we do not know")

export interface Extensible {
  readonly [extra]?: ReadonlyMap<string, string>
}

/** cryptsetup's (json-c's default): a header it cannot read helps nobody in an emergency. */
const DEPTH = 31

/** Throws SyntaxError for what is not one JSON object, and for equal names in it or in any object within. */
export function members(text: string): Map<string, string> {
  const value: unknown = parseJson(text, DEPTH)
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new SyntaxError("not a JSON object")
  const found = new Map<string, string>()
  // The text is known to be JSON: what follows only finds where things begin and end.
  let at = skipSpace(text, 0) + 1
  for (;;) {
    at = skipSpace(text, at)
    if (text[at] === "}") return found
    if (text[at] === ",") {
      at++
      continue
    }
    const nameEnd = endOfString(text, at)
    const name = JSON.parse(text.slice(at, nameEnd)) as string
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    at = endOfValue(text, start)
    found.set(name, text.slice(start, at))
  }
}

function skipSpace(text: string, at: number): number {
  while (at < text.length && " \t\n\r".includes(text[at]!)) at++
  return at
}

function endOfValue(text: string, at: number): number {
  let depth = 0
  for (let index = at; ; ) {
    const char = text[index]!
    if (char === '"') {
      index = endOfString(text, index)
      if (depth === 0) return index
      continue
    }
    if (char === "{" || char === "[") {
      depth++
    } else if (char === "}" || char === "]") {
      if (depth === 0) return index
      if (--depth === 0) return index + 1
    } else if (depth === 0 && ", \t\n\r".includes(char)) {
      return index
    }
    index++
  }
}

/** Text of an object of these members, in order; `null` texts are left out. */
export function object(fields: Iterable<readonly [string, string | null]>): string {
  const parts: string[] = []
  for (const [name, text] of fields) if (text !== null) parts.push(`${JSON.stringify(name)}:${text}`)
  return `{${parts.join(",")}}`
}

/** The members in `text` that are not in `known`; `undefined` when there are none. */
export function unknownMembers(found: ReadonlyMap<string, string>, known: readonly string[]): Extensible {
  const others = [...found].filter(([name]) => !known.includes(name))
  return others.length === 0 ? {} : { [extra]: new Map(others) }
}
