/** `tresor adopt` and `tresor release`: volumes of cryptsetup's. */
import { adopt as adoptVolume, checkAdoptable, hasRecoveryKey } from "../../luks2/operations/adopt.ts"
import type { FreshKeyslot } from "../../luks2/operations/parts.ts"
import { releasePlan, release as releaseVolume } from "../../luks2/operations/release.ts"
import { nameSlots } from "../../luks2/operations/seal-status.ts"
import { out } from "../../output/output.ts"
import {
  type EnclaveChoice,
  type ExistingOptions,
  type FreshOptions,
  freshKeyslot,
  type NewSecretOptions,
  newSource,
  readNew,
  withExisting,
  withKeeper,
} from "../keeper.ts"
import { withClock } from "../progress.ts"
import { checkRecoveryFile, showRecoveryKey, withRecoveryKey } from "../recovery-key.ts"
import { withSecret } from "../secrets.ts"
import { withPassphrase } from "../unlock.ts"

export interface ReleaseOptions extends EnclaveChoice, ExistingOptions {
  readonly header?: string
  readonly batchMode?: true
}

export interface AdoptOptions extends ReleaseOptions, FreshOptions, NewSecretOptions {
  readonly newKeySlot?: number
  readonly recovery: boolean
  readonly recoveryKeyFile?: string
}

export async function adopt(path: string, options: AdoptOptions): Promise<void> {
  checkRecoveryFile(options.recoveryKeyFile)
  await withKeeper(path, options, async (keeper) => {
    checkAdoptable(keeper.store.header, path)
    const recovery = options.recovery && !hasRecoveryKey(keeper.store.header)
    await withExisting(keeper, options, `Enter any existing passphrase for ${path}`, (proof) =>
      withSecret(readNew("Enter new passphrase for Tresor", newSource(options), options), async (secret) => {
        const fresh = await freshKeyslot(keeper.enclave, options, { secret, slot: options.newKeySlot ?? null })
        const add = (...more: FreshKeyslot[]) =>
          withClock("Making the keyslots", adoptVolume(keeper, proof, [fresh, ...more]))
        const added = recovery
          ? await withRecoveryKey(
              options.recoveryKeyFile,
              (key) => add({ type: "recovery", secret: key, slot: null, adopted: true }),
              (key) => showRecoveryKey(key, out),
            )
          : await add()
        const [tresor, recoverySlot] = added.map(({ slot }) => slot)
        out.line(
          `Tresor passphrase in keyslot ${tresor}${recoverySlot === undefined ? "" : `, recovery key in keyslot ${recoverySlot}`}.`,
        )
        if (options.recovery && !recovery) out.line("The volume's own recovery key stays the one to keep.")
      }),
    )
  })
}

export async function release(path: string, options: ReleaseOptions): Promise<void> {
  const { removed, remaining } = await withKeeper(path, options, async (keeper) => {
    const plan = releasePlan(keeper.store.header, path)
    return withPassphrase(`Enter a passphrase of ${nameSlots(plan.remaining)} of ${path}`, options, (secret) =>
      withClock("Opening the keyslot", releaseVolume(keeper, secret)),
    )
  })
  out.line(`Destroyed ${nameSlots(removed)}; ${nameSlots(remaining)} left to cryptsetup.`)
}
