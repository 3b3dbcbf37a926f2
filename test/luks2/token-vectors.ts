/** vectors/token.json: a token and oddities of it. */
import { readFileSync } from "node:fs"
import { edited, type Json } from "./vector-image.ts"

export interface TokenVector {
  readonly oddity: string
  readonly set?: Readonly<Record<string, Json>>
  readonly remove?: readonly string[]
  /** As Tresor's, or kept: as damaged, or as of a kind that is unknown here. */
  readonly verdict: "used" | "damaged" | "unknown"
}

const vectors: { readonly token: Json; readonly parsed: Json; readonly tokens: readonly TokenVector[] } = JSON.parse(
  readFileSync(new URL("../../vectors/token.json", import.meta.url), "utf8"),
)

/** What the token itself says. */
export const PARSED = vectors.parsed

export const tokens: readonly (TokenVector & { readonly token: Json })[] = [
  { oddity: "none", verdict: "used" as const, token: vectors.token },
  ...vectors.tokens.map((vector) => ({ ...vector, token: edited(structuredClone(vectors.token), vector) })),
]
