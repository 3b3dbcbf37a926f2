import type { ErrorCode } from "../../base/error-codes.ts"
import { Exit, TresorError } from "../../base/errors.ts"

/** Evidence that does not hold. `message` is the fact found; the verifier adds which check found it. */
export class Refusal extends Error {
  override readonly name = "Refusal"
}

/** The line people read when an enclave is not to have a passphrase; exit 2. `fact`: what was found. */
export function refuse(code: ErrorCode, fact: string, cause?: unknown): TresorError {
  return new TresorError(code, Exit.denied, `Cannot give this enclave a passphrase: ${fact}`, { cause })
}
