/** `tresor key`: passphrases of a volume. */
import { addKeyslot } from "../../keyslots/add.ts"
import { changeKeyslot } from "../../keyslots/change.ts"
import { checkRemovable, removeKeyslot } from "../../keyslots/remove.ts"
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
import { err, out } from "../output/output.ts"
import { withClock } from "../progress.ts"
import { withSecret } from "../secrets.ts"
import { withPassphrase } from "../unlock.ts"

export { list } from "./key-list.ts"

interface VolumeOptions extends EnclaveChoice, ExistingOptions {
  readonly header?: string
  readonly batchMode?: true
  readonly verifyPassphrase?: true
}

export interface NewKeyOptions extends VolumeOptions, FreshWords, NewSecretOptions {
  readonly newKeySlot?: number
}

export interface RemoveOptions extends VolumeOptions {
  readonly force?: true
}

/** An existing passphrase, a new one, and what is done with both. */
function withBoth<T>(
  path: string,
  options: NewKeyOptions,
  prompts: { readonly existing: string; readonly fresh: string },
  operation: (...args: Parameters<typeof addKeyslot>) => Promise<T>,
): Promise<T> {
  return withKeeper(path, options, (keeper) =>
    withExisting(keeper, options, prompts.existing, (proof) =>
      withSecret(readNew(prompts.fresh, newSource(options), options), async (secret) => {
        const fresh = await freshKeyslot(keeper.enclave, options, { secret, slot: options.newKeySlot ?? null })
        return withClock("Making the keyslot", operation(keeper, proof, fresh))
      }),
    ),
  )
}

export async function add(path: string, options: NewKeyOptions): Promise<void> {
  const prompts = { existing: `Enter any existing passphrase for ${path}`, fresh: "Enter new passphrase" }
  const { slot } = await withBoth(path, options, prompts, addKeyslot)
  out.line(`Keyslot ${slot} added.`)
}

export async function change(path: string, options: NewKeyOptions): Promise<void> {
  const prompts = { existing: `Enter passphrase to be changed of ${path}`, fresh: "Enter new passphrase" }
  const { slot, removed } = await withBoth(path, options, prompts, changeKeyslot)
  out.line(`Keyslot ${slot} added, keyslot ${removed} destroyed.`)
}

export async function remove(path: string, options: RemoveOptions): Promise<void> {
  const slot = options.keySlot ?? null
  const prompt = slot === null ? `Enter passphrase to be removed from ${path}` : `Enter any passphrase of ${path}`
  const doomed = { slot, force: options.force === true }
  const { remaining, ...removed } = await withKeeper(path, options, (keeper) => {
    // Before anybody types a passphrase for nothing.
    checkRemovable(keeper.store.header.metadata, path, doomed)
    const verify = options.verifyPassphrase === true
    return withPassphrase(prompt, { ...options, verify }, (secret) =>
      withClock("Opening the keyslot", removeKeyslot(keeper, secret, doomed)),
    )
  })
  out.line(`Keyslot ${removed.slot} destroyed.`)
  if (remaining.length === 0) {
    err.line(`Warning: ${path} has no keyslot left; only a header backup opens its data again.`)
  } else if (removed.boundToMachine) {
    err.line(
      "Warning: every keyslot left is sealed to this machine; if it fails, the data is lost. Add a portable passphrase with `tresor key add --portable`.",
    )
  }
}
