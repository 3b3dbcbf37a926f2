/** What a C header of ours defines, for tests that compare. No compiler: it knows the few forms that abi/*.h have. */
import { readFileSync } from "node:fs"

/** Its text without comments. `path`: from the root of the checkout. */
export function readHeader(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")
}

/** Numbers of `#define NAME 1u`, of `(1 << 2)`, and of every member of an enum that says its value. */
export function constantsIn(header: string): ReadonlyMap<string, number> {
  const constants = new Map<string, number>()
  for (const [, name, value] of header.matchAll(/^#define (TRESOR_\w+)\s+(.+?)\s*$/gm)) {
    const number = /^\(?(\w+?)u?(?: << (\d+))?\)?$/.exec(value!)
    if (number !== null) constants.set(name!, Number(number[1]!.replace(/u$/, "")) * 2 ** Number(number[2] ?? 0))
  }
  for (const [, body] of header.matchAll(/enum \w+ \{([^}]*)\}/g)) {
    for (const [, name, value] of body!.matchAll(/(TRESOR_\w+)\s*=\s*(\d+)/g)) constants.set(name!, Number(value))
  }
  return constants
}
