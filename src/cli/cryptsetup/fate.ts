/** What becomes of an option of cryptsetup's. Pure. */

/** Our option of that name, with the same value; `beside`: another one when that option of cryptsetup's is given too. */
interface As {
  readonly as: string
  readonly beside?: { readonly option: string; readonly as: string }
}

export type Fate =
  | As
  /** The value is an operand of ours. */
  | { readonly operand: true }
  /** What it asks for is so in any case: why. */
  | { readonly kept: string }
  /** Why Tresor does not have it, and the way out. */
  | { readonly refused: string }
  /** One of these values asks for what is so in any case, every other is refused. */
  | { readonly values: readonly string[]; readonly kept: string; readonly refused: string }

export const as = (name: string): Fate => ({ as: name })
export const operand: Fate = { operand: true }
export const kept = (why: string): Fate => ({ kept: why })
export const refused = (why: string): Fate => ({ refused: why })
export const only = (values: readonly string[], why: string, otherwise: string): Fate => ({
  values,
  kept: why,
  refused: otherwise,
})
