/**
 * The one error class of the product. `code` is stable and for programs,
 * `exitCode` is cryptsetup's, `message` is one line for people: what could not
 * be done, the fact found, the way out.
 */
import type { ErrorCode } from "./error-codes.ts"

/** cryptsetup(8), EXIT STATUS. */
export const Exit = {
  badArguments: 1,
  denied: 2,
  noMemory: 3,
  wrongDevice: 4,
  busy: 5,
} as const

export type ExitCode = (typeof Exit)[keyof typeof Exit]

export class TresorError extends Error {
  override readonly name = "TresorError"
  /** `<AREA>_<WHAT>`, e.g. `LUKS2_BROKEN`. */
  readonly code: ErrorCode
  readonly exitCode: ExitCode

  constructor(code: ErrorCode, exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.exitCode = exitCode
  }
}
