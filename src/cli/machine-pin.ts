/** The PIN of a machine secret that is sealed to the TPM: asked for once, then the secret is in the kernel's keyring. */
import { isatty } from "node:tty"
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { chooseBackend } from "../enclave/loader.ts"
import { secretDir } from "../enclave/machine-secret.ts"
import { isSealed, needsPin, readSealed } from "../enclave/sealed-secret.ts"
import { unlock } from "../library/machine.ts"
import { err } from "./output/output.ts"
import { isInteractive, readSecret, type SecretSource, withSecret } from "./secrets.ts"

export const PROMPT = "Enter PIN of this machine's TPM for Tresor"

/** One that is set: typed twice. Throws PASSPHRASE_EMPTY (exit 1). */
export async function readNewPin(source: SecretSource): Promise<Uint8Array> {
  const pin = await readSecret("Enter new PIN of this machine's TPM for Tresor", source, { verify: true, what: "PIN" })
  if (pin.length > 0) return pin
  throw new TresorError("PASSPHRASE_EMPTY", Exit.badArguments, "Cannot set an empty PIN; give at least one byte")
}

/** Calls `attempt` with the PIN; again after a wrong one while it is typed and tries are left. The TPM counts too. */
export async function withPin<T>(
  source: SecretSource & { readonly tries: number },
  attempt: (pin: Uint8Array) => Promise<T>,
): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await withSecret(readSecret(PROMPT, source, { again: n > 1 }), attempt)
    } catch (error) {
      const wrong = error instanceof TresorError && error.code === "TPM_PIN"
      if (!wrong || n >= source.tries || !isInteractive(source)) throw error
      err.line(`${error.message}.`)
    }
  }
}

/**
 * At a terminal, before an enclave starts that needs the machine secret. What cannot be done is said, and no reason to stop:
 * recovery keys and portable passphrases open volumes without it.
 */
export async function offerPin(backend: Backend | "auto"): Promise<void> {
  const directory = secretDir()
  if (!isSealed(directory) || !isatty(0) || chooseBackend(backend) === "sgx") return
  const sealed = readSealed(directory)
  if (sealed === null || !needsPin(sealed)) return
  try {
    await withPin({ tries: 3 }, (pin) => unlock(directory, pin))
  } catch (error) {
    if (!(error instanceof TresorError)) throw error
    err.line(`WARNING! ${error.message}`)
  }
}
