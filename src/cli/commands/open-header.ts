/** What `tresor open` does with a header itself: test a passphrase, keep a flag. */
import type { AskedOptions } from "../../control/daemon-options.ts"
import { proveKeyslot } from "../../keyslots/prove.ts"
import { withHeader, withKeeper } from "../keeper.ts"
import { out } from "../output/output.ts"
import { withClock } from "../progress.ts"
import { type UnlockWords, withPassphrase } from "../unlock.ts"

export interface HeaderWords extends UnlockWords, Pick<AskedOptions, "header" | "backend" | "allowDiscards"> {
  readonly testPassphrase?: true
  readonly persistent?: true
  readonly verbose?: true
}

/** The volume may be open meanwhile; nothing is written. Says which keyslot with --verbose, as cryptsetup. */
export async function testPassphrase(
  path: string,
  { header, backend = "auto", ...options }: HeaderWords,
): Promise<void> {
  const slot = await withKeeper(
    path,
    { ...options, backend, ...(header == null ? {} : { header }) },
    (keeper) =>
      withPassphrase(
        `Enter passphrase for ${path}`,
        { ...options, verify: options.verifyPassphrase === true },
        (secret) => withClock("Opening the keyslot", proveKeyslot(keeper, { secret, slot: options.keySlot ?? null })),
      ),
    { readOnly: true },
  )
  if (options.verbose === true) out.line(`Key slot ${slot} unlocked.`)
}

const DISCARDS = "allow-discards"

/** cryptsetup's persistent flag: set or cleared, as this open has it; other flags stay. */
export function keepDiscards(
  path: string,
  { header, allowDiscards }: Pick<HeaderWords, "header" | "allowDiscards">,
): Promise<void> {
  return withHeader(path, header ?? undefined, { readOnly: false }, async (store) => {
    await store.update(
      async (found) => {
        const { metadata } = found
        const others = metadata.config.flags.filter((flag) => flag !== DISCARDS)
        const flags = allowDiscards === true ? [...others, DISCARDS] : others
        return { header: { ...found, metadata: { ...metadata, config: { ...metadata.config, flags } } } }
      },
      { unproved: true },
    )
  })
}
