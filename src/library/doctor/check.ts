/** "yes": there; "no": absent, something is worse for it; "info": absent or partial, nothing depends on it here. */
type State = "yes" | "no" | "info"

/** What a check of this machine says. */
export interface DoctorCheck {
  readonly id: string
  readonly name: string
  readonly state: State
  readonly found: string
  readonly means: string
  /** null: nothing to do. */
  readonly remedy: string | null
}
