/** Prompts and messages that the commands on keyslots share. */
import { Exit, TresorError } from "../base/errors.ts"
import type { Enclave, SealPolicy } from "../enclave/types.ts"
import type { HeaderStore } from "../header/header-store.ts"
import type { KdfRequest } from "../keyslots/kdf.ts"
import type { FreshKeyslot, Keeper, VolumeKeeper } from "../keyslots/parts.ts"
import { proveKeyslot } from "../keyslots/prove.ts"
import * as library from "../library/keeper.ts"
import type { Metadata } from "../luks2/metadata.ts"
import { tampering, tamperingWords } from "../luks2/tampering.ts"
import { offerPin } from "./machine-pin.ts"
import { err } from "./output/output.ts"
import { withClock } from "./progress.ts"
import { isInteractive, readSecret, type SecretSource } from "./secrets.ts"
import { atTerminal } from "./trust.ts"
import { withPassphrase } from "./unlock.ts"

export type { EnclaveChoice } from "../library/keeper.ts"

export interface PbkdfOptions {
  readonly pbkdf?: KdfRequest["type"]
  readonly pbkdfMemory?: number
  readonly pbkdfParallel?: number
  readonly pbkdfForceIterations?: number
  readonly iterTime?: number
}

export interface FreshWords extends PbkdfOptions {
  readonly portable?: true
  readonly sealPolicy?: SealPolicy
}

export interface ExistingOptions extends SecretSource {
  readonly tries: number
  readonly keySlot?: number
}

export const warn = (line: string): void => err.line(`WARNING! ${line}`)

export function warnOfTampering(metadata: Metadata, path: string): void {
  const found = tampering(metadata)
  if (found !== null) warn(`${path}: ${tamperingWords(found)}`)
}

export async function withEnclave<T>(choice: library.EnclaveChoice, work: (keeper: Keeper) => Promise<T>): Promise<T> {
  await offerPin(choice.backend)
  return library.withEnclave(choice, atTerminal(), work)
}

export function withHeader<T>(
  path: string,
  header: string | undefined,
  { readOnly }: { readonly readOnly: boolean },
  work: (store: HeaderStore) => Promise<T>,
): Promise<T> {
  return library.withHeader({ path, header }, { readOnly, warn }, work)
}

export async function withKeeper<T>(
  path: string,
  options: library.EnclaveChoice & { readonly header?: string },
  work: (keeper: VolumeKeeper) => Promise<T>,
  access: { readonly readOnly?: boolean } = {},
): Promise<T> {
  await offerPin(options.backend)
  return library.withKeeper({ path, header: options.header }, options, { ...atTerminal(), warn }, work, access)
}

/** The options' words for a KDF. */
function kdfRequest(options: PbkdfOptions): Partial<KdfRequest> {
  return {
    ...(options.pbkdf !== undefined && { type: options.pbkdf }),
    ...(options.pbkdfMemory !== undefined && { memoryKib: options.pbkdfMemory }),
    ...(options.pbkdfParallel !== undefined && { lanes: options.pbkdfParallel }),
    ...(options.pbkdfForceIterations !== undefined && { iterations: options.pbkdfForceIterations }),
    ...(options.iterTime !== undefined && { timeMs: options.iterTime }),
  }
}

export function freshKeyslot(
  enclave: Enclave,
  options: FreshWords,
  what: Pick<FreshKeyslot, "secret" | "slot">,
): Promise<FreshKeyslot> {
  const made = library.freshKeyslot(enclave, { ...options, kdf: kdfRequest(options) }, what)
  return withClock("Measuring the KDF", made)
}

/**
 * Calls `work` with an existing passphrase. A typed one is tested first, so
 * that a slip is noticed before a new passphrase is thought up and typed twice.
 */
export function withExisting<T>(
  keeper: VolumeKeeper,
  options: ExistingOptions,
  prompt: string,
  work: (proof: { readonly secret: Uint8Array; readonly slot: number | null }) => Promise<T>,
): Promise<T> {
  const named = options.keySlot ?? null
  const interactive = isInteractive(options)
  return withPassphrase(prompt, options, async (secret) => {
    const slot = interactive
      ? await withClock("Opening the keyslot", proveKeyslot(keeper, { secret, slot: named }))
      : named
    return work({ secret, slot })
  })
}

/** A passphrase to be set: typed twice, unless in batch mode without -y. Throws PASSPHRASE_EMPTY (exit 1). */
export async function readNew(
  prompt: string,
  source: SecretSource,
  options: { readonly batchMode?: true; readonly verifyPassphrase?: true },
): Promise<Uint8Array> {
  const verify = options.batchMode !== true || options.verifyPassphrase === true
  const secret = await readSecret(prompt, source, { verify })
  if (secret.length > 0) return secret
  throw new TresorError(
    "PASSPHRASE_EMPTY",
    Exit.badArguments,
    "Cannot set an empty passphrase: anybody could open the volume; give at least one byte",
  )
}

export interface NewSecretOptions {
  readonly newKeyFile?: string
  readonly newKeyfileSize?: number
  readonly newKeyfileOffset?: number
  readonly timeout?: number
}

/** --new-key-file and what belongs to it, as the source of a secret. */
export function newSource(options: NewSecretOptions): SecretSource {
  return {
    ...(options.newKeyFile === undefined ? {} : { keyFile: options.newKeyFile }),
    ...(options.newKeyfileSize === undefined ? {} : { keyfileSize: options.newKeyfileSize }),
    ...(options.newKeyfileOffset === undefined ? {} : { keyfileOffset: options.newKeyfileOffset }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  }
}
