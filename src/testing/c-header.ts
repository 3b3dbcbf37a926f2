/** What a C header of ours defines, for tests that compare. No compiler: it knows the few forms that abi/*.h have. */
import { readFileSync } from "node:fs"

/** Its text without comments. `path`: from the root of the checkout. */
export function readHeader(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")
}

/** Numbers of `#define NAME 1u`, of `(1 << 2)`, and of every member of an enum that says its value. */
export function constantsIn(header: string): ReadonlyMap<string, number> {
  const constants = new Map<string, number>()
  for (const [, name, value] of header.matchAll(/^#define ((?:TRESOR|SGX|UBLK)_\w+)\s+(.+?)\s*$/gm)) {
    const number = /^\(?(\w+?)u?(?: << (\d+))?\)?$/.exec(value!)
    if (number !== null) constants.set(name!, Number(number[1]!.replace(/u$/, "")) * 2 ** Number(number[2] ?? 0))
  }
  for (const [, body] of header.matchAll(/enum \w+ \{([^}]*)\}/g)) {
    for (const [, name, value] of body!.matchAll(/(TRESOR_\w+)\s*=\s*(\d+)/g)) constants.set(name!, Number(value))
  }
  return constants
}

/** "u32", a byte count or a struct's name for every field of a C struct. */
export function fieldsInC(body: string, constants: ReadonlyMap<string, number>): [string, string][] {
  return Array.from(body.matchAll(/(?:(uint\d+)_t|(char)|struct (\w+))\s+(\w+)((?:\[\w+\])*);/g), (match) => {
    const [, integer, char, name, field, dimensions] = match
    const type = name ?? (char !== undefined ? "u8" : integer!.replace("uint", "u"))
    const counts = Array.from(dimensions!.matchAll(/\[(\w+)\]/g), ([, count]) => constants.get(count!) ?? Number(count))
    if (counts.length === 0) return [field!, type]
    const width = Number(type.slice(1)) / 8
    return [field!, String(counts.reduce((product, count) => product * count, width))]
  })
}
