import { Exit, TresorError } from "../base/errors.ts"

export function headerRaced(name: string): TresorError {
  return new TresorError(
    "HEADER_RACED",
    Exit.wrongDevice,
    `Cannot unlock ${name}: its header is not the one the passphrase was sealed for; try again`,
  )
}
