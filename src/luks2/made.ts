/**
 * Where and when a sealed keyslot was made, kept in its token for people: a
 * volume that moves between machines has one such slot for each. Not covered by
 * a MAC, and nothing is decided by it. Pure.
 */
import { type Extensible, extra } from "./json.ts"

export interface Made {
  readonly host: string
  /** UTC, "2026-11-28". */
  readonly on: string
  /** The machine secret of the software backend; `null`: hardware, or an older version. */
  readonly secret: SecretName | null
}

/** A machine secret by name, which tells nothing of it. */
export interface SecretName {
  /** 16 hex digits. */
  readonly id: string
  /** Whose it is. */
  readonly uid: number
}

const FIELD = "made"
/** As Linux bounds a host name. */
const HOST_LIMIT = 64
const UID_LIMIT = 0xffff_ffff

/** The member of a token that holds it, for its `extra`. */
export function madeMember({ host, on, secret }: Made): readonly [string, string] {
  return [FIELD, JSON.stringify({ host: host.slice(0, HOST_LIMIT), on, ...(secret === null ? {} : { secret }) })]
}

/** null: another program's token, or an older one, or nonsense. */
export function madeOf(token: Extensible): Made | null {
  const text = token[extra]?.get(FIELD)
  if (text === undefined) return null
  const value: unknown = JSON.parse(text)
  if (typeof value !== "object" || value === null) return null
  const { host, on, secret } = value as { readonly [name: string]: unknown }
  if (typeof host !== "string" || host === "" || host.length > HOST_LIMIT) return null
  return typeof on === "string" && /^\d{4}-\d\d-\d\d$/.test(on) ? { host, on, secret: secretName(secret) } : null
}

function secretName(value: unknown): SecretName | null {
  if (typeof value !== "object" || value === null) return null
  const { id, uid } = value as { readonly [name: string]: unknown }
  if (typeof id !== "string" || !/^[0-9a-f]{16}$/.test(id)) return null
  return Number.isInteger(uid) && (uid as number) >= 0 && (uid as number) <= UID_LIMIT
    ? { id, uid: uid as number }
    : null
}
