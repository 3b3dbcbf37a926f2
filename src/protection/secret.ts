/** Where a state directory has its machine secret, for those who judge it. */
import { isSealed, readSealed } from "../enclave/sealed-secret.ts"
import type { SecretKeeping } from "./words.ts"

/** Throws MACHINE_SECRET_REFUSED. */
export function keepingIn(directory: string): SecretKeeping {
  const sealed = isSealed(directory) ? readSealed(directory) : null
  return sealed === null ? "file" : sealed.tpm2.pin === null ? "tpm2" : "tpm2-pin"
}
