import { formatSize } from "../../base/size.ts"
import type { FreshKeyslot } from "../../keyslots/parts.ts"
import { type CreatedVolume, type LayoutOptions, makePlanned, planVolume } from "../../library/plan.ts"
import { type EnclaveChoice, type FreshWords, freshKeyslot, readNew, withEnclave } from "../keeper.ts"
import { err, out } from "../output/output.ts"
import { progressBar, startClock } from "../progress.ts"
import { checkRecovery, type RecoveryOptions, withRecoveryKey } from "../recovery-key.ts"
import { type SecretSource, withSecret } from "../secrets.ts"

export interface CreateWords
  extends SecretSource,
    EnclaveChoice,
    FreshWords,
    RecoveryOptions,
    Omit<LayoutOptions, "force"> {
  readonly keySlot?: number
  readonly recovery: boolean
  readonly force?: true
  readonly batchMode?: true
  readonly verifyPassphrase?: true
  readonly json?: true
}

/** Makes a volume. Nothing is written before the recovery key has got to its owner. */
export async function createVolume(path: string, options: CreateWords): Promise<CreatedVolume> {
  const plan = await planVolume(path, options)
  if (options.recovery) checkRecovery(options)
  return withSecret(readNew(`Enter passphrase for ${path}`, options, options), (secret) =>
    withEnclave(options, async (keeper) => {
      const first = await freshKeyslot(keeper.enclave, options, { secret, slot: options.keySlot ?? 0 })
      using clock = startClock("Making the keyslots")
      using bar = progressBar("Wiping the header area")
      const make = (more: readonly FreshKeyslot[], deliver: () => Promise<void>) =>
        makePlanned(plan, keeper, [first, ...more], {
          deliver: () => {
            clock.stop()
            return deliver()
          },
          progress: bar.update,
        })
      return options.recovery
        ? await withRecoveryKey(options, (key, deliver) =>
            make([{ type: "recovery", secret: key, slot: null }], deliver),
          )
        : await make([], async () => {})
    }),
  )
}

export async function create(path: string, options: CreateWords): Promise<void> {
  const made = await createVolume(path, options)
  if (options.json === true) {
    out.json(made)
  } else {
    const sealed =
      options.portable === true ? "opened by cryptsetup too" : `sealed to this machine, backend ${made.backend}`
    out.line(
      `${path}: ${formatSize(made.usable)} usable of ${formatSize(made.size)}, ${made.cipher} with ${made.keySize}-bit key, ` +
        `${made.sectorSize}-byte sectors, UUID ${made.uuid}.`,
    )
    out.line(`Passphrase in keyslot ${made.keyslot}, ${sealed}.`)
  }
  if (made.recoveryKeyslot === null && options.portable !== true) {
    err.line(
      "Warning: there is no recovery key; if this machine fails, the data is lost. Add a portable passphrase with `tresor key add --portable`.",
    )
  }
}
