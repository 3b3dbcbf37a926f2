/** `tresor header`: backup and restore in cryptsetup's file format, and `authenticate`. */
import { checkNotOpen } from "../../control/in-use.ts"
import { stateDir } from "../../enclave/machine-secret.ts"
import { backupHeader, restoreHeader } from "../../header/backup.ts"
import { authenticateHeader } from "../../keyslots/authenticate.ts"
import { confirm } from "../confirm.ts"
import { type EnclaveChoice, type ExistingOptions, warnOfTampering, withKeeper } from "../keeper.ts"
import { err, out } from "../output/output.ts"
import { progressBar, withClock } from "../progress.ts"
import { withPassphrase } from "../unlock.ts"

export interface HeaderOptions {
  readonly header?: string
}

export async function backup(path: string, file: string, options: HeaderOptions): Promise<void> {
  warnOfTampering(await backupHeader(options.header ?? path, file), path)
}

export interface RestoreWords extends HeaderOptions {
  readonly force?: true
  readonly batchMode?: true
}

export async function restore(path: string, file: string, options: RestoreWords): Promise<void> {
  const target = options.header ?? path
  for (const each of new Set([path, target])) checkNotOpen(each, "restore the header of")
  using bar = progressBar("Restoring the header")
  await restoreHeader(target, file, {
    force: options.force === true,
    detached: options.header !== undefined,
    putAside: stateDir(),
    agree: async ({ replaces }) => {
      if (options.batchMode === true) return
      const nothing = replaces ? "" : "; it holds no LUKS2 header now"
      await confirm(`This replaces the header of ${target}, keyslots included${nothing}.`)
    },
    progress: bar.update,
  })
}

export interface AuthenticateOptions extends HeaderOptions, EnclaveChoice, ExistingOptions {}

export async function authenticate(path: string, options: AuthenticateOptions): Promise<void> {
  const { macsMissing } = await withKeeper(path, options, (keeper) =>
    withPassphrase(`Enter any passphrase of ${path}`, options, (secret) =>
      withClock("Opening the keyslot", authenticateHeader(keeper, { secret, slot: options.keySlot ?? null })),
    ),
  )
  out.line("The header is authenticated as it is now.")
  if (macsMissing) {
    err.line(
      `tresor: the header had no MACs, so nothing shows whether it was changed before; compare \`tresor dump ${path}\` with a backup`,
    )
  }
}
