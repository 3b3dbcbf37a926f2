/** `tresor token`: tokens of other programs, by cryptsetup's words. */
import { readFileSync, writeFileSync } from "node:fs"
import { Exit, TresorError } from "../../base/errors.ts"
import { volumeSlots } from "../../keyslots/metadata-edit.ts"
import {
  assignToken,
  exportToken,
  importToken,
  keyringToken,
  removeToken,
  type TokenPlace,
  unassignToken,
} from "../../keyslots/tokens.ts"
import type { Metadata } from "../../luks2/metadata.ts"
import { withHeader } from "../keeper.ts"
import { out } from "../output/output.ts"

interface TokenOptions {
  readonly header?: string
  readonly tokenId?: number
}

interface NewTokenOptions extends TokenOptions {
  readonly tokenReplace?: true
  readonly keySlot?: number
}

const place = ({ tokenId, tokenReplace }: NewTokenOptions): TokenPlace => ({
  number: tokenId ?? null,
  replace: tokenReplace === true,
})

/** Throws USAGE (exit 1). */
function named<T>(value: T | undefined, verb: string, option: string): T {
  if (value !== undefined) return value
  throw new TresorError("USAGE", Exit.badArguments, `Cannot ${verb} a token: ${option} is missing`)
}

function change(path: string, { header }: TokenOptions, edit: (metadata: Metadata) => Metadata): Promise<void> {
  return withHeader(path, header, { readOnly: false }, async (store) => {
    await store.update(async (found) => ({ header: { ...found, metadata: edit(found.metadata) } }), { unproved: true })
  })
}

/** The token and, with --key-slot, its keyslot, in one write of the header. */
async function put(path: string, options: NewTokenOptions, json: (metadata: Metadata) => string): Promise<void> {
  const { keySlot } = options
  const made: number[] = []
  await change(path, options, (metadata) => {
    const imported = importToken(metadata, json(metadata), place(options))
    made.push(imported.number)
    return keySlot === undefined ? imported.metadata : assignToken(imported.metadata, imported.number, keySlot)
  })
  out.line(`Token ${made.at(-1)} created.`)
}

/** Of a file, or of standard input. Throws USAGE (exit 1). */
function readJson(file: string | undefined): string {
  try {
    return readFileSync(file === undefined || file === "-" ? 0 : file, "utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new TresorError("USAGE", Exit.badArguments, `Cannot read ${file ?? "standard input"}: ${code}`, {
      cause: error,
    })
  }
}

export async function add(
  path: string,
  options: NewTokenOptions & { readonly keyDescription?: string; readonly unbound?: true },
): Promise<void> {
  const description = named(options.keyDescription, "add", "--key-description")
  const all = (metadata: Metadata) =>
    options.unbound === true || options.keySlot !== undefined ? [] : volumeSlots(metadata)
  await put(path, options, (metadata) => keyringToken(description, all(metadata)))
}

export async function importFrom(
  path: string,
  options: NewTokenOptions & { readonly jsonFile?: string },
): Promise<void> {
  const json = readJson(options.jsonFile)
  await put(path, options, () => json)
}

export async function exportTo(path: string, options: TokenOptions & { readonly jsonFile?: string }): Promise<void> {
  const number = named(options.tokenId, "export", "--token-id")
  await withHeader(path, options.header, { readOnly: true }, async ({ header: { metadata } }) => {
    const json = exportToken(metadata, number)
    if (options.jsonFile === undefined || options.jsonFile === "-") out.json(JSON.parse(json))
    else writeFileSync(options.jsonFile, `${json}\n`, { mode: 0o600 })
  })
}

export async function remove(path: string, options: TokenOptions): Promise<void> {
  const number = named(options.tokenId, "remove", "--token-id")
  await change(path, options, (metadata) => removeToken(metadata, number))
  out.line(`Token ${number} removed.`)
}

export async function unassign(path: string, options: NewTokenOptions): Promise<void> {
  const number = named(options.tokenId, "unassign", "--token-id")
  const slot = named(options.keySlot, "unassign", "--key-slot")
  await change(path, options, (metadata) => unassignToken(metadata, number, slot))
}
