/** The examples of docs/api.md as programs that run one after the other in a folder, with what they print. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../cli/harness.ts"

export const API = readFileSync(join(root, "docs/api.md"), "utf8")

export interface Example {
  readonly program: string
  /** Of all it prints. */
  readonly prints: RegExp
}

const UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

/** In the order of docs/api.md. */
const PRINTS: readonly RegExp[] = [
  new RegExp(`^${UUID} 71\nacross two sectors, of any alignment\n$`),
  /^the printer is out of paper true\nSIZE_MISSING 1\n$/,
  /^nbd\+unix:\/\/\/\?socket=disk\.sock across two sectors, of any alignment\n$/,
  /^1 recovery strong\n2 portable passphrase\n3 tresor strong\n2 3 0 3\nENCLAVE_PASSPHRASE\n$/,
  /^71\nfalse true \[ 0, 1, 3 \]\n$/,
  /^NOT_OPEN\n$/,
  /^yes\n$/,
  new RegExp(`^${UUID} 2 1 null\n$`),
  /^false\n$/,
]

export function examples(): readonly Example[] {
  const programs = [...API.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, program]) => program!)
  if (programs.length !== PRINTS.length) throw new Error(`${programs.length} examples, ${PRINTS.length} expected`)
  return programs.map((program, index) => ({ program, prints: PRINTS[index]! }))
}
