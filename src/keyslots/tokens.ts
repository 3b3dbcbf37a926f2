/**
 * Tokens of other programs in a header: imported, exported, bound to keyslots, as `cryptsetup token`. A token of
 * Tresor's holds a keyslot's sealed salt: it comes and goes with its keyslot. Pure.
 */
import { Exit, TresorError } from "../base/errors.ts"
import { emitToken } from "../luks2/emit.ts"
import { TOKENS } from "../luks2/limits.ts"
import type { Metadata } from "../luks2/metadata.ts"
import { parseTokenJson } from "../luks2/parse.ts"
import { Odd } from "../luks2/reader.ts"
import { TRESOR_TOKEN } from "../luks2/tresor-token.ts"
import { inactive, type Token } from "./metadata-edit.ts"

const fail = (code: "TOKEN_MISSING" | "TOKEN_TAKEN" | "TOKEN_INVALID" | "TOKEN_BOUND", message: string): TresorError =>
  new TresorError(code, Exit.badArguments, message)

const bound = (number: number): TresorError =>
  fail(
    "TOKEN_BOUND",
    `Cannot change token ${number}: it holds the sealed salt of its keyslot; \`tresor key remove\` destroys both`,
  )

function withToken(metadata: Metadata, number: number, token: Token | null): Metadata {
  const tokens = new Map(metadata.tokens)
  if (token === null) tokens.delete(number)
  else tokens.set(number, token)
  return { ...metadata, tokens }
}

/** Throws TOKEN_MISSING (exit 1). */
function tokenOf(metadata: Metadata, number: number): Token {
  const token = metadata.tokens.get(number)
  if (token !== undefined) return token
  const used = [...metadata.tokens.keys()].sort((a, b) => a - b)
  const there = used.length === 0 ? "there are no tokens" : `in use: ${used.join(", ")}`
  throw fail("TOKEN_MISSING", `Token ${number} is not in use; ${there}`)
}

/** Throws TOKEN_BOUND (exit 1) for one of Tresor's. */
function foreignOf(metadata: Metadata, number: number): Token {
  const token = tokenOf(metadata, number)
  if (token.type === TRESOR_TOKEN) throw bound(number)
  return token
}

/** One line of JSON, as the header has it. Throws TOKEN_MISSING (exit 1). */
export const exportToken = (metadata: Metadata, number: number): string => emitToken(tokenOf(metadata, number))

export interface TokenPlace {
  /** `null`: the first free one. */
  readonly number: number | null
  /** Take the place of the token that has the number. */
  readonly replace: boolean
}

/** The number a token will have. Throws TOKEN_TAKEN, TOKEN_BOUND (exit 1). */
function placeOf(metadata: Metadata, { number, replace }: TokenPlace): number {
  if (number !== null) {
    if (!metadata.tokens.has(number)) return number
    if (!replace) throw fail("TOKEN_TAKEN", `Token ${number} is in use; --token-replace replaces it`)
    foreignOf(metadata, number)
    return number
  }
  for (let free = 0; free < TOKENS; free++) if (!metadata.tokens.has(free)) return free
  throw fail("TOKEN_TAKEN", `Cannot add a token: all ${TOKENS} are in use; \`tresor token remove\` frees one`)
}

/**
 * Puts a token, JSON of any type but Tresor's, into the header; its keyslots must be there. Throws TOKEN_INVALID,
 * TOKEN_TAKEN, TOKEN_BOUND (exit 1).
 */
export function importToken(metadata: Metadata, json: string, place: TokenPlace) {
  const number = placeOf(metadata, place)
  let token: Token
  try {
    token = parseTokenJson(json, number)
  } catch (error) {
    if (!(error instanceof Odd)) throw error
    throw fail("TOKEN_INVALID", `Cannot import the token: ${error.message}`)
  }
  if (token.type === TRESOR_TOKEN) {
    throw fail(
      "TOKEN_BOUND",
      "Cannot import a token of type tresor: it holds the sealed salt of one keyslot of one header; `tresor header backup` and `header restore` keep both together",
    )
  }
  const missing = token.keyslots.find((slot) => !metadata.keyslots.has(slot))
  if (missing !== undefined) {
    throw fail("TOKEN_INVALID", `Cannot import the token: it names keyslot ${missing}, which is not active`)
  }
  return { number, metadata: withToken(metadata, number, token) }
}

/** Throws TOKEN_MISSING, TOKEN_BOUND (exit 1). */
export function removeToken(metadata: Metadata, number: number): Metadata {
  foreignOf(metadata, number)
  return withToken(metadata, number, null)
}

/** Binds a token to `slot`. Throws TOKEN_MISSING, TOKEN_BOUND, KEYSLOT_INACTIVE (exit 1). */
export function assignToken(metadata: Metadata, number: number, slot: number): Metadata {
  const token = foreignOf(metadata, number)
  if (!metadata.keyslots.has(slot)) throw inactive(slot)
  if (token.keyslots.includes(slot)) return metadata
  return withToken(metadata, number, { ...token, keyslots: [...token.keyslots, slot] })
}

/** Throws TOKEN_MISSING, TOKEN_BOUND (exit 1). */
export function unassignToken(metadata: Metadata, number: number, slot: number): Metadata {
  const token = foreignOf(metadata, number)
  if (!token.keyslots.includes(slot)) {
    throw fail("TOKEN_MISSING", `Token ${number} is not assigned to keyslot ${slot}; \`tresor dump\` shows which are`)
  }
  return withToken(metadata, number, { ...token, keyslots: token.keyslots.filter((each) => each !== slot) })
}

/** What systemd and cryptsetup find a passphrase in the kernel's keyring by. */
export const keyringToken = (description: string, keyslots: readonly number[]): string =>
  JSON.stringify({ type: "luks2-keyring", keyslots: keyslots.map(String), key_description: description })
