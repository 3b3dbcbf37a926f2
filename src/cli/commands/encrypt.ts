/** `tresor reencrypt --encrypt`: plaintext becomes a volume in place. */

import { Exit, TresorError } from "../../base/errors.ts"
import { formatSize } from "../../base/size.ts"
import type { FreshKeyslot } from "../../keyslots/parts.ts"
import { type EncryptionLayout, mendStart, withPlaintext } from "../../library/encrypt.ts"
import type { Reencrypting } from "../../library/reencrypt.ts"
import type { SectorSize } from "../../luks2/limits.ts"
import { confirm } from "../confirm.ts"
import { type EnclaveChoice, type FreshWords, freshKeyslot, readNew, warn } from "../keeper.ts"
import { err } from "../output/output.ts"
import { startClock } from "../progress.ts"
import { checkRecovery, type RecoveryOptions, withRecoveryKey } from "../recovery-key.ts"
import { type SecretSource, withSecret } from "../secrets.ts"
import { atTerminal } from "../trust.ts"

export interface EncryptOptions extends EnclaveChoice, SecretSource, FreshWords, RecoveryOptions {
  readonly header?: string
  readonly batchMode?: true
  readonly verifyPassphrase?: true
  readonly reduceDeviceSize?: bigint
  readonly resilience?: "checksum" | "journal"
  readonly sectorSize?: SectorSize
  /** Bits. */
  readonly keySize?: 256 | 512
  readonly keySlot?: number
  readonly carryKeyFile?: readonly string[]
  readonly recovery: boolean
}

type Run = (volume: Reencrypting, secret: Uint8Array) => Promise<void>

const layoutOf = ({ header, reduceDeviceSize, sectorSize, keySize }: EncryptOptions): EncryptionLayout => ({
  ...(header !== undefined && { header }),
  ...(reduceDeviceSize !== undefined && { reduceDeviceSize }),
  ...(sectorSize !== undefined && { sectorSize }),
  ...(keySize !== undefined && { keySize }),
})

function checkOptions(path: string, options: EncryptOptions): void {
  const fact =
    options.carryKeyFile !== undefined
      ? "plaintext has no passphrase to carry over; leave --carry-key-file out"
      : options.reduceDeviceSize !== undefined && options.resilience !== undefined
        ? "with --reduce-device-size each zone moves, which is its resilience; leave --resilience out"
        : null
  if (fact === null) return
  throw new TresorError("REENCRYPT_OPTIONS", Exit.badArguments, `Cannot encrypt ${path}: ${fact}`)
}

/** Puts a header in its place whose writing was cut off, if there is one. */
export async function mendHeader(path: string, options: EncryptOptions): Promise<void> {
  if (options.reduceDeviceSize === undefined || !(await mendStart(path, layoutOf(options)))) return
  err.line(`The header of ${path} was not written to its end; it is now.`)
}

/** Begins, and has `run` convert the data. */
export async function encrypt(path: string, options: EncryptOptions, run: Run): Promise<void> {
  checkOptions(path, options)
  const audience = { ...atTerminal(), warn }
  await withPlaintext(path, layoutOf(options), options, audience, async (plain) => {
    if (options.recovery) checkRecovery(options)
    const { reduceDeviceSize } = options
    const place =
      reduceDeviceSize === undefined
        ? `The header will be in ${options.header}: without that file the data are lost.`
        : `The last ${formatSize(reduceDeviceSize)} of ${path} are lost.`
    if (options.batchMode !== true) {
      const lost = plain.lost === null ? "" : `\n${capital(plain.lost)}.`
      await confirm(
        `This encrypts the ${formatSize(plain.size)} of ${path} in place; have a backup of what is on it. ${place}${lost}`,
      )
    } else if (plain.lost !== null) warn(`${path}: ${plain.lost}`)
    await withSecret(readNew(`Enter passphrase for ${path}`, options, options), async (secret) => {
      const first = await freshKeyslot(plain.enclave, options, { secret, slot: options.keySlot ?? null })
      using clock = startClock("Making the keyslots")
      const begin = (more: readonly FreshKeyslot[], deliver: () => Promise<void>) =>
        plain.begin([first, ...more], options.resilience ?? "checksum", () => {
          clock.stop()
          return deliver()
        })
      if (options.recovery)
        await withRecoveryKey(options, (key, deliver) =>
          begin([{ type: "recovery", secret: key, slot: null }], deliver),
        )
      else await begin([], async () => {})
      await plain.pending((volume) => run(volume, secret))
    })
  })
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
