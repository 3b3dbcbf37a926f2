import { visibleLine } from "../../base/visible.ts"
import { isSealStatus, sealBrief } from "../../enclave/seal-words.ts"
import { type RecoveryReport, recover as recoverVolume, testRecovery } from "../../keyslots/recover.ts"
import type { Made } from "../../luks2/made.ts"
import {
  type EnclaveChoice,
  type FreshWords,
  freshKeyslot,
  type NewSecretOptions,
  newSource,
  readNew,
  withKeeper,
} from "../keeper.ts"
import { isWrongPassphrase } from "../messages.ts"
import { err, out } from "../output/output.ts"
import { shade } from "../output/state.ts"
import { withClock } from "../progress.ts"
import { isInteractive, type SecretSource, withSecret } from "../secrets.ts"
import { table } from "../table.ts"
import { readRecoveryKey } from "../typed-recovery-key.ts"
import { STRENGTHS } from "./key-list.ts"

export interface RecoverOptions extends EnclaveChoice, FreshWords, NewSecretOptions {
  readonly recoveryKeyFile?: string
  readonly newKeySlot?: number
  readonly checkOnly?: true
  readonly header?: string
  readonly batchMode?: true
  readonly json?: true
}

const TRIES = 3

function opensHere(seal: RecoveryReport["others"][number]["seal"]): string {
  if (seal === null || seal === "opens") return "yes"
  if (seal === "untried") return "not tried: it would take hours"
  return `no: ${isSealStatus(seal) ? sealBrief(seal) : seal}`
}

/** On a second machine, the keyslot of the first one is still useful. */
function keepOrRemove(slot: number, made: Made | null, path: string): string {
  const machine = made === null ? "another machine" : visibleLine(`${made.host}, on ${made.on}`)
  return (
    `Keyslot ${slot} does not open here; it was made on ${machine}. Keep it if you also use the volume there; ` +
    `else \`tresor key remove --key-slot ${slot} ${path}\` destroys it.`
  )
}

function tell(report: RecoveryReport, path: string): string {
  const said = `The recovery key opens ${visibleLine(path)} (keyslot ${report.slot}).\n`
  if (report.others.length === 0) return `${said}There are no other keyslots.\n`
  const rows = report.others.map(({ slot, kind, strength, why, seal }) => [
    String(slot),
    kind,
    shade(STRENGTHS[strength], strength === "passphrase" ? "depends" : strength),
    shade(seal === null || seal === "opens" ? "good" : "bad", opensHere(seal)),
    why,
  ])
  return `${said}\n${table(["KEYSLOT", "KIND", "STRENGTH", "OPENS HERE", "WHY"], rows, out.columns)}`
}

/** Calls `attempt` with the recovery key; again, while it is typed and tries are left, after one that opens nothing. */
async function withTypedKey<T>(
  prompt: string,
  source: SecretSource,
  attempt: (key: Uint8Array) => Promise<T>,
): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await withSecret(readRecoveryKey(prompt, source), attempt)
    } catch (error) {
      if (!isWrongPassphrase(error) || n >= TRIES || !isInteractive(source)) throw error
      err.line("No keyslot opens with this recovery key.")
    }
  }
}

export async function recover(path: string, options: RecoverOptions): Promise<void> {
  const source: SecretSource = {
    ...(options.recoveryKeyFile === undefined ? {} : { keyFile: options.recoveryKeyFile }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  }
  const say = (text: string) => {
    if (options.json !== true) out.text(text)
  }
  await withKeeper(path, options, (keeper) =>
    withTypedKey(`Enter recovery key for ${path}`, source, async (key) => {
      const report = await withClock("Opening the keyslot", testRecovery(keeper, key))
      say(tell(report, path))
      let keyslot: number | null = null
      if (options.checkOnly !== true) {
        const fresh = readNew("Enter new passphrase for this machine", newSource(options), options)
        keyslot = await withSecret(fresh, async (secret) => {
          const slot = options.newKeySlot ?? null
          const made = await freshKeyslot(keeper.enclave, options, { secret, slot })
          const added = recoverVolume(keeper, { key, slot: report.slot }, made)
          return (await withClock("Making the keyslot", added)).slot
        })
        say(`\nNew passphrase in keyslot ${keyslot}.\n`)
        for (const { slot, seal, made } of report.others) {
          if (seal === null || seal === "opens" || seal === "untried") continue
          say(`${keepOrRemove(slot, made, visibleLine(path))}\n`)
        }
      }
      if (options.json === true) {
        const { uuid } = keeper.store.header
        const object = { path, uuid, recoveryKeyslot: report.slot, keyslots: report.others, keyslot }
        out.json(object)
      }
    }),
  )
}
