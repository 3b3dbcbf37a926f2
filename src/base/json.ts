/**
 * JSON from bytes that are not ours. JSON.parse keeps the last of two equal
 * names, other parsers the first: text that two programs may read in two ways
 * is refused instead (docs/decisions/0043-duplicate-names.md). Pure.
 */

/** JSON, but not text that everybody reads in the same way. The message is a predicate: "has the name … twice". */
export class AmbiguousJson extends SyntaxError {
  override readonly name = "AmbiguousJson"
}

/** What is wrong with a text that parseJson refused, as a predicate. */
export function jsonFault(error: unknown): string {
  return error instanceof AmbiguousJson ? error.message : "is not JSON"
}

/** Deeper than anything we read, shallower than what JSON.parse can take. */
const DEPTH = 64

/** JSON.parse, less what is ambiguous. Throws SyntaxError; AmbiguousJson for equal names in one object. */
export function parseJson(text: string, depth = DEPTH): unknown {
  const value: unknown = JSON.parse(text)
  checkNames(text, depth)
  return value
}

/** `at`: the opening quote; returns the index after the closing one. */
export function endOfString(text: string, at: number): number {
  for (let index = at + 1; ; index++) {
    if (text[index] === "\\") index++
    else if (text[index] === '"') return index + 1
  }
}

/** Walks a text that JSON.parse has accepted, so every bracket and quote has its partner. */
function checkNames(text: string, depth: number): void {
  /** Names of each object around the current place; `null` for an array. */
  const open: (Set<string> | null)[] = []
  /** A string that begins here is a name. */
  let name = false
  for (let at = 0; at < text.length; ) {
    const char = text[at]!
    if (char === '"') {
      const end = endOfString(text, at)
      if (name) {
        const found = JSON.parse(text.slice(at, end)) as string
        const names = open.at(-1)!
        if (names.has(found)) throw new AmbiguousJson(`has the name ${JSON.stringify(found)} twice in one object`)
        names.add(found)
        name = false
      }
      at = end
      continue
    }
    if (char === "{" || char === "[") {
      if (open.length === depth) throw new AmbiguousJson(`is nested deeper than ${depth} levels`)
      open.push(char === "{" ? new Set() : null)
      name = char === "{"
    } else if (char === "}" || char === "]") {
      open.pop()
      name = false
    } else if (char === ",") {
      name = open.at(-1) instanceof Set
    }
    at++
  }
}
