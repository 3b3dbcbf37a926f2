/** A recovery key on its way in: from a file, or typed in any form. */
import { Exit, TresorError } from "../base/errors.ts"
import { normalizeRecoveryKey, recoveryKeyFaults } from "../luks2/recovery-key.ts"
import { err } from "./output/output.ts"
import { isInteractive, readSecret, readShown, type SecretSource, wipe, withSecret } from "./secrets.ts"

const FORM = "a recovery key has eight groups of eight letters, all of cbdefghijklnrtuv"

/** The text that is the keyslot's passphrase. Throws NO_RECOVERY_KEY (exit 2). */
function checked(bytes: Uint8Array): Uint8Array {
  const key = normalizeRecoveryKey(bytes)
  if (key !== null) return key
  throw new TresorError(
    "NO_RECOVERY_KEY",
    Exit.denied,
    `Not a recovery key: ${recoveryKeyFaults(bytes).join("; ")}; ${FORM}`,
  )
}

/** Typed, and shown meanwhile; asked for again as long as it has not the form of a recovery key. */
async function typedKey(prompt: string, timeout: number | undefined): Promise<Uint8Array> {
  for (;;) {
    const typed = await readShown(prompt, timeout)
    try {
      const key = normalizeRecoveryKey(typed)
      if (key !== null) return key
      err.line(`Not a recovery key: ${recoveryKeyFaults(typed).join("; ")}.`)
    } finally {
      wipe(typed)
    }
  }
}

/** Its canonical text, the caller's to wipe. Throws NO_RECOVERY_KEY (exit 2). */
export function readRecoveryKey(prompt: string, source: SecretSource): Promise<Uint8Array> {
  if (isInteractive(source)) return typedKey(prompt, source.timeout)
  return withSecret(readSecret(prompt, source), async (bytes) => checked(bytes))
}
