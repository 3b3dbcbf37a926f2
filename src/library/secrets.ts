/** Passphrases given to the library are wiped by the call that takes them. */
import { Exit, TresorError } from "../base/errors.ts"

/** Runs `work`, and wipes the secrets however it ends. Throws PASSPHRASE_NOT_BYTES (exit 1) for a string: it could not be wiped. */
export async function wiping<T>(secrets: readonly unknown[], work: () => Promise<T>): Promise<T> {
  try {
    for (const secret of secrets) {
      if (secret === undefined || secret instanceof Uint8Array) continue
      throw new TresorError(
        "PASSPHRASE_NOT_BYTES",
        Exit.badArguments,
        "Cannot take this passphrase: it is no Uint8Array; a string cannot be wiped from memory",
      )
    }
    return await work()
  } finally {
    for (const secret of secrets) if (secret instanceof Uint8Array) secret.fill(0)
  }
}
