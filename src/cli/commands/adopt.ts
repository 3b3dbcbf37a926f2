/** `tresor adopt` and `tresor release`, for volumes made by cryptsetup. */
import { adopt as adoptVolume, checkAdoptable, hasRecoveryKey } from "../../keyslots/adopt.ts"
import type { FreshKeyslot } from "../../keyslots/parts.ts"
import { releasePlan, release as releaseVolume } from "../../keyslots/release.ts"
import { nameSlots } from "../../keyslots/seal-status.ts"
import { ask } from "../confirm.ts"
import {
  type EnclaveChoice,
  type ExistingOptions,
  type FreshWords,
  freshKeyslot,
  type NewSecretOptions,
  newSource,
  readNew,
  withExisting,
  withKeeper,
} from "../keeper.ts"
import { out } from "../output/output.ts"
import { startClock, withClock } from "../progress.ts"
import { checkRecovery, type RecoveryOptions, withRecoveryKey } from "../recovery-key.ts"
import { isInteractive, withSecret } from "../secrets.ts"
import { withPassphrase } from "../unlock.ts"
import { reencrypt } from "./reencrypt.ts"

export interface ReleaseOptions extends EnclaveChoice, ExistingOptions {
  readonly header?: string
  readonly batchMode?: true
}

export interface AdoptOptions extends ReleaseOptions, FreshWords, NewSecretOptions, RecoveryOptions {
  readonly newKeySlot?: number
  readonly recovery: boolean
}

export async function adopt(path: string, options: AdoptOptions): Promise<void> {
  await withKeeper(path, options, async (keeper) => {
    checkAdoptable(keeper.store.header, path)
    const recovery = options.recovery && !hasRecoveryKey(keeper.store.header)
    if (recovery) checkRecovery(options)
    await withExisting(keeper, options, `Enter any existing passphrase for ${path}`, (proof) =>
      withSecret(readNew("Enter new passphrase for Tresor", newSource(options), options), async (secret) => {
        const fresh = await freshKeyslot(keeper.enclave, options, { secret, slot: options.newKeySlot ?? null })
        using clock = startClock("Making the keyslots")
        const add = (more: readonly FreshKeyslot[], deliver: () => Promise<void>) =>
          adoptVolume(keeper, proof, [fresh, ...more], () => {
            clock.stop()
            return deliver()
          })
        const added = recovery
          ? await withRecoveryKey(options, (key, deliver) =>
              add([{ type: "recovery", secret: key, slot: null, adopted: true }], deliver),
            )
          : await add([], async () => {})
        clock.stop()
        const [tresor, recoverySlot] = added.map(({ slot }) => slot)
        out.line(
          `Tresor passphrase in keyslot ${tresor}${recoverySlot === undefined ? "" : `, recovery key in keyslot ${recoverySlot}`}.`,
        )
        if (options.recovery && !recovery) out.line("The volume's own recovery key remains the one to keep.")
        out.line(
          `Its volume key was in kernel memory whenever cryptsetup had it open: \`tresor reencrypt ${path}\` makes a new one in the enclave.`,
        )
      }),
    )
  })
  await offerReencryption(path, options)
}

/** Asks a person at a terminal, and nobody else; a reencryption asks for all it needs itself. */
async function offerReencryption(path: string, options: AdoptOptions): Promise<void> {
  if (options.batchMode === true || !isInteractive(options)) return
  const answer = await ask("Reencrypt it now? Its recovery key is replaced by another one then. (yes/no): ")
  if (answer.trim().toLowerCase() !== "yes") return
  const { newKeyFile: _, recoveryKeyFile: __, keySlot: ___, ...rest } = options
  await reencrypt(path, rest)
}

export async function release(path: string, options: ReleaseOptions): Promise<void> {
  const { removed, remaining } = await withKeeper(path, options, async (keeper) => {
    const plan = releasePlan(keeper.store.header, path)
    return withPassphrase(`Enter a passphrase of ${nameSlots(plan.remaining)} of ${path}`, options, (secret) =>
      withClock("Opening the keyslot", releaseVolume(keeper, secret)),
    )
  })
  out.line(
    `Destroyed ${nameSlots(removed)}; ${nameSlots(remaining)} ${remaining.length === 1 ? "remains" : "remain"} for cryptsetup.`,
  )
}
