/** A sealed request is about the header that its client was shown, whatever its purpose: the enclave would refuse it for another. */
import { Exit, TresorError } from "../base/errors.ts"

export function headerRaced(name: string): TresorError {
  return new TresorError(
    "HEADER_RACED",
    Exit.wrongDevice,
    `Cannot use the passphrase for ${name}: its header is not the one the passphrase was sealed for; try again`,
  )
}
