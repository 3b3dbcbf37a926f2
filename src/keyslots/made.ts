/**
 * Where and when a sealed keyslot was made, kept in its token for people: a
 * volume that moves between machines has one such slot for each. Not covered by
 * a MAC, and nothing is decided by it. Pure.
 */
import { extra } from "../luks2/json.ts"
import type { TresorToken } from "../luks2/tresor-token.ts"

export interface Made {
  readonly host: string
  /** UTC, "2026-11-28". */
  readonly on: string
}

const FIELD = "made"
/** As Linux bounds a host name. */
const HOST_LIMIT = 64

/** The member of a token that holds it, for its `extra`. */
export function madeMember({ host, on }: Made): readonly [string, string] {
  return [FIELD, JSON.stringify({ host: host.slice(0, HOST_LIMIT), on })]
}

/** null: another program's token, or an older one, or nonsense. */
export function madeOf(token: TresorToken): Made | null {
  const text = token[extra]?.get(FIELD)
  if (text === undefined) return null
  const value: unknown = JSON.parse(text)
  if (typeof value !== "object" || value === null) return null
  const { host, on } = value as { readonly host?: unknown; readonly on?: unknown }
  if (typeof host !== "string" || host === "" || host.length > HOST_LIMIT) return null
  return typeof on === "string" && /^\d{4}-\d\d-\d\d$/.test(on) ? { host, on } : null
}
