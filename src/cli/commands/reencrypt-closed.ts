/** `tresor reencrypt` of a volume that is closed: a new volume key, or none (--decrypt). */
import { Exit, TresorError } from "../../base/errors.ts"
import { formatSize } from "../../base/size.ts"
import { keyBytes } from "../../keyslots/create.ts"
import type { FreshKeyslot, Proof } from "../../keyslots/parts.ts"
import { proveKeyslot } from "../../keyslots/prove.ts"
import { nameSlots } from "../../keyslots/seal-status.ts"
import { slotStrengths } from "../../keyslots/strength.ts"
import { isBegun } from "../../library/encrypt.ts"
import type { HeaderPlace } from "../../library/keeper.ts"
import {
  HOT_ZONE,
  keptKeyslot,
  movedDown,
  type NewKey,
  pendingMode,
  progressOf,
  type Reencrypting,
  runReencryption,
  startDecryption,
  startReencryption,
  withHeaderApart,
  withReencryption,
} from "../../library/reencrypt.ts"
import { nonePending } from "../../reencrypt/run.ts"
import { confirm } from "../confirm.ts"
import { type ExistingOptions, freshKeyslot, warn, withExisting } from "../keeper.ts"
import { err, out } from "../output/output.ts"
import { rateBar, startClock } from "../progress.ts"
import { checkRecovery, withRecoveryKey } from "../recovery-key.ts"
import { isInteractive, readSecret, wipe } from "../secrets.ts"
import { atTerminal } from "../trust.ts"
import { withPassphrase } from "../unlock.ts"
import { type EncryptOptions, encrypt, mendHeader } from "./encrypt.ts"

export interface ReencryptOptions extends EncryptOptions, ExistingOptions {
  readonly encrypt?: true
  readonly decrypt?: true
  readonly resume?: true
  /** Of an open volume. */
  readonly pause?: true
  readonly authenticate?: true
  readonly hotzoneSize?: bigint
  readonly progressFrequency?: number
  /** MB in a second. */
  readonly throttle?: number
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

interface Carried {
  readonly secret: Uint8Array
  readonly slot: number
}

/** Passphrases beside the one that proves: from files, and asked for at a terminal. The caller wipes them. */
async function others(volume: Reencrypting, options: ReencryptOptions, proved: number): Promise<Carried[]> {
  const carried: Carried[] = []
  const slots = () => [proved, ...carried.map(({ slot }) => slot)]
  const add = async (secret: Uint8Array, slot: number | null, what: string) => {
    try {
      const opened = await proveKeyslot(volume, { secret, slot })
      if (slots().includes(opened)) wipe(secret)
      else carried.push({ secret, slot: opened })
    } catch (error) {
      wipe(secret)
      if (error instanceof TresorError && error.code === "ENCLAVE_PASSPHRASE") {
        throw new TresorError(error.code, error.exitCode, `${what} opens no keyslot of ${volume.path}`)
      }
      throw error
    }
  }
  try {
    for (const keyFile of options.carryKeyFile ?? []) {
      await add(await readSecret("", { keyFile }), null, `The passphrase in ${keyFile}`)
    }
    if (!isInteractive(options) || options.batchMode === true) return carried
    for (const { slot, kind } of slotStrengths(volume.store.header.metadata)) {
      if (slots().includes(slot) || kind === "recovery") continue
      const secret = await readSecret(
        `Enter passphrase of keyslot ${slot} to keep it (empty: it is destroyed)`,
        options,
      )
      if (secret.length > 0) await add(secret, slot, "That")
    }
    return carried
  } catch (error) {
    wipe(...carried.map(({ secret }) => secret))
    throw error
  }
}

function renewed(volume: Reencrypting, options: ReencryptOptions, { secret, slot }: Carried): Promise<FreshKeyslot> {
  return keptKeyslot(volume, { secret, slot }, (portable) =>
    freshKeyslot(volume.enclave, portable ? { ...options, portable } : options, { secret, slot: null }),
  )
}

export async function begin(
  volume: Reencrypting,
  options: ReencryptOptions,
  secret: Uint8Array,
  slot: number,
): Promise<void> {
  const { path, store } = volume
  const before = slotStrengths(store.header.metadata)
  const carried = await others(volume, options, slot)
  try {
    const all = [{ secret, slot }, ...carried]
    const kept = all.map((each) => each.slot)
    const hadRecovery = before.some((each) => each.kind === "recovery" && !kept.includes(each.slot))
    const recovery = options.recovery && hadRecovery
    if (recovery) checkRecovery(options)
    const lost = before.filter((each) => !kept.includes(each.slot)).map((each) => each.slot)
    if (options.batchMode !== true) {
      const loses = lost.length === 0 ? "" : `\nIts passphrase in ${nameSlots(lost)} opens it no longer afterwards.`
      const recovers = recovery
        ? "\nIts recovery key is replaced by a new one, which is shown before anything is written."
        : ""
      await confirm(
        `This makes a new volume key for ${path} and encrypts its data anew; a header backup of before is of no use then.${loses}${recovers}`,
      )
    } else if (lost.length > 0) {
      err.line(
        `${nameSlots(lost)} of ${path} will not be carried over${recovery ? "; a new recovery key replaces the old one" : ""}.`,
      )
    }
    const [first, ...rest] = await Promise.all([
      renewed(volume, options, all[0]!),
      ...carried.map((each) => renewed(volume, options, each)),
    ])
    using clock = startClock("Making the new key")
    const start = (more: readonly FreshKeyslot[], deliver: () => Promise<void>) => {
      const key: NewKey = {
        keyslots: [first, ...rest, ...more],
        // A recovery key that could not resume what it shall recover would be none.
        alsoOld: more,
        resilience: options.resilience ?? "checksum",
        sectorSize: options.sectorSize ?? null,
        keySize: options.keySize === undefined ? null : keyBytes(options.keySize),
      }
      return startReencryption(volume, { secret, slot }, key, () => {
        clock.stop()
        return deliver()
      })
    }
    if (recovery)
      await withRecoveryKey(options, (key, deliver) => start([{ type: "recovery", secret: key, slot: null }], deliver))
    else await start([], async () => {})
  } finally {
    wipe(...carried.map((each) => each.secret))
  }
}

async function beginDecryption(volume: Reencrypting, options: ReencryptOptions, proof: Proof): Promise<void> {
  const { path } = volume
  const given = [options.sectorSize, options.keySize, options.carryKeyFile].some((each) => each !== undefined)
  if (given) {
    throw new TresorError(
      "REENCRYPT_OPTIONS",
      Exit.badArguments,
      `Cannot decrypt ${path}: there will be no key; leave --sector-size, --key-size and --carry-key-file out`,
    )
  }
  if (options.batchMode !== true) {
    const apart =
      options.header === undefined
        ? ""
        : `\nUntil it has ended, the data are lost without the header in ${options.header}.`
    await confirm(
      `This decrypts ${path} in place: whoever reads it afterwards reads your data. All its keyslots and tokens are destroyed.${apart}`,
    )
  }
  const detached = options.header !== undefined
  await startDecryption(volume, proof, { resilience: options.resilience ?? "checksum", detached })
}

/** Options of a new key mean nothing to one that is being moved to. Throws REENCRYPT_PENDING (exit 1). */
export function checkResumable(path: string, options: ReencryptOptions): void {
  const given = [options.sectorSize, options.keySize, options.resilience, options.carryKeyFile].some(
    (each) => each !== undefined,
  )
  // The same command as that which began goes on.
  if (!given || options.encrypt === true || options.decrypt === true) return
  throw new TresorError(
    "REENCRYPT_PENDING",
    Exit.badArguments,
    `Cannot begin a reencryption of ${path}: one is pending, and its key, resilience and keyslots are chosen; resume it with --resume`,
  )
}

/** What is said of data that are converted, by the mode of the pass. */
const CONVERTED: Readonly<Record<string, string>> = {
  reencrypt: "under the new volume key",
  encrypt: "encrypted",
  decrypt: "decrypted",
}

async function run(volume: Reencrypting, options: ReencryptOptions, secret: Uint8Array): Promise<void> {
  const { path } = volume
  let stopping = false
  const stop = () => {
    stopping = true
  }
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  for (const signal of signals) process.on(signal, stop)
  const mode = pendingMode(volume.store.header) ?? "reencrypt"
  const converted = CONVERTED[mode]!
  const { total, done: first } = progressOf(volume)
  const down = movedDown(volume)
  try {
    using bar = rateBar(`${sentence(mode)}ing`, { total, first, everySeconds: options.progressFrequency ?? null })
    const { done, dropped } = await runReencryption(volume, {
      secret,
      vouched: options.authenticate === true,
      hotZone: options.hotzoneSize === undefined ? HOT_ZONE : Number(options.hotzoneSize),
      throttle: (options.throttle ?? 0) * 1_000_000,
      stop: () => stopping,
      progress: (position) => bar.update(position),
    })
    bar.stop()
    if (!done) throw paused(path, { ...progressOf(volume), converted }, options.header)
    const gone =
      dropped.length === 0
        ? ""
        : ` ${sentence(nameSlots(dropped))} of the old key ${dropped.length === 1 ? "is" : "are"} destroyed.`
    const place =
      down === null
        ? ""
        : ` The plaintext is its first ${down.size} bytes; the ${down.behind} bytes behind that are overwritten.`
    out.line(`All data of ${path} are ${converted}.${gone}${place}`)
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}

interface Paused {
  /** Bytes. */
  readonly done: number
  readonly total: number
  /** "encrypted". */
  readonly converted?: string
}

export function paused(
  path: string,
  { done, total, converted = CONVERTED["reencrypt"]! }: Paused,
  header?: string,
): TresorError {
  const words = header === undefined ? path : `--header ${header} ${path}`
  return new TresorError(
    "REENCRYPT_PAUSED",
    Exit.badArguments,
    `Reencryption of ${path} paused: ${formatSize(done)} of ${formatSize(total)} are ${converted}; ` +
      `\`tresor reencrypt --resume ${words}\` goes on`,
  )
}

/** Options that contradict each other, or the mode of what is pending. Throws REENCRYPT_OPTIONS (exit 1). */
export function checkMode(path: string, options: ReencryptOptions, pending: string | null = null): void {
  const wanted = options.encrypt === true ? "encrypt" : options.decrypt === true ? "decrypt" : null
  const fact =
    options.encrypt === true && options.decrypt === true
      ? "--encrypt and --decrypt are opposites; leave one of them out"
      : options.reduceDeviceSize !== undefined && options.encrypt !== true
        ? "--reduce-device-size makes room for a header; it goes with --encrypt"
        : options.encrypt !== true && (options.verifyPassphrase === true || options.portable === true)
          ? "-y and --portable are for a new passphrase; they go with --encrypt"
          : wanted !== null && pending !== null && wanted !== pending
            ? `it is being ${pending}ed; resume that with --resume alone`
            : null
  if (fact === null) return
  throw new TresorError("REENCRYPT_OPTIONS", Exit.badArguments, `Cannot reencrypt ${path}: ${fact}`)
}

export async function reencryptClosed(path: string, options: ReencryptOptions): Promise<void> {
  const place = { path, header: options.header }
  checkMode(path, options)
  if (options.encrypt === true) {
    await mendHeader(path, options)
    if (options.resume !== true && !(await isBegun(place))) {
      return encrypt(path, options, (volume, secret) => run(volume, options, secret))
    }
  }
  const { header } = options
  if (options.decrypt === true && header !== undefined && options.resume !== true) {
    return withHeaderApart({ path, header }, () => goOn(place, options))
  }
  await goOn(place, options)
}

/** Begins, or resumes what is pending. */
async function goOn(place: HeaderPlace, options: ReencryptOptions): Promise<void> {
  const { path } = place
  await withReencryption(place, options, { ...atTerminal(), warn }, async (volume) => {
    const pending = pendingMode(volume.store.header)
    checkMode(path, options, pending)
    if (pending !== null) {
      checkResumable(path, options)
      await withPassphrase(`Enter passphrase for ${path}`, options, (secret) => run(volume, options, secret))
    } else if (options.resume === true || options.authenticate === true) {
      throw nonePending(path)
    } else {
      await withExisting(volume, options, `Enter any existing passphrase for ${path}`, async ({ secret, slot }) => {
        if (options.decrypt === true) await beginDecryption(volume, options, { secret, slot })
        else await begin(volume, options, secret, slot ?? (await proveKeyslot(volume, { secret, slot: null })))
        await run(volume, options, secret)
      })
    }
  })
}
