/** Where a state directory has its machine secret, for those who judge it. */
import { TresorError } from "../base/errors.ts"
import { isSealed, readSealed } from "../enclave/sealed-secret.ts"
import type { SecretKeeping } from "./words.ts"

/** One that cannot be read promises nothing. */
export function keepingIn(directory: string): SecretKeeping {
  try {
    const sealed = isSealed(directory) ? readSealed(directory) : null
    return sealed === null ? "file" : sealed.tpm2.pin === null ? "tpm2" : "tpm2-pin"
  } catch (error) {
    if (error instanceof TresorError) return "file"
    throw error
  }
}
