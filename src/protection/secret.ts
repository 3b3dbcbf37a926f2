/** Where a state directory has its machine secret, for those who judge it. */
import { TresorError } from "../base/errors.ts"
import { isSealed, readSealed, type SealedSecret } from "../enclave/sealed-secret.ts"
import type { SecretKeeping } from "./words.ts"

/** `null`: it is in a file. */
export const keepingOf = (sealed: SealedSecret | null): SecretKeeping =>
  sealed === null ? "file" : sealed.tpm2.pin === null ? "tpm2" : "tpm2-pin"

/** One that cannot be read promises nothing. */
export function keepingIn(directory: string): SecretKeeping {
  try {
    return keepingOf(isSealed(directory) ? readSealed(directory) : null)
  } catch (error) {
    if (error instanceof TresorError) return "file"
    throw error
  }
}
