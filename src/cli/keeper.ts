/** What the keyslot commands share: a volume's header, an enclave to ask, and how passphrases are asked for. */
import { availableParallelism, hostname, totalmem } from "node:os"
import type { Backend } from "../abi/enclave.ts"
import { askEnclave, TrustedEnclave } from "../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { openEnclave } from "../enclave/loader.ts"
import type { Enclave, SealPolicy } from "../enclave/types.ts"
import { readCopies } from "../header/copies.ts"
import { brokenWords, HeaderStore } from "../header/header-store.ts"
import { openForHeader } from "../header/open.ts"
import { type KdfRequest, portableKdf, tresorKdf } from "../keyslots/kdf.ts"
import type { FreshKeyslot, Keeper, VolumeKeeper } from "../keyslots/parts.ts"
import { proveKeyslot } from "../keyslots/prove.ts"
import { faultsOf, faultWords } from "../luks2/faults.ts"
import type { Metadata } from "../luks2/metadata.ts"
import { checkTampering, tampering, tamperingWords } from "../luks2/tampering.ts"
import type { Kdf } from "../luks2/types.ts"
import { err } from "./output/output.ts"
import { withClock } from "./progress.ts"
import { isInteractive, readSecret, type SecretSource } from "./secrets.ts"
import { atTerminal } from "./trust.ts"
import { withPassphrase } from "./unlock.ts"

export interface EnclaveChoice {
  readonly backend: Backend | "auto"
  readonly policy?: string
}

export interface PbkdfOptions {
  readonly pbkdf?: "argon2id" | "argon2i" | "pbkdf2"
  readonly pbkdfMemory?: number
  readonly pbkdfParallel?: number
  readonly pbkdfForceIterations?: number
  readonly iterTime?: number
}

export interface FreshOptions extends PbkdfOptions {
  readonly portable?: true
  readonly sealPolicy?: SealPolicy
}

export interface ExistingOptions extends SecretSource {
  readonly tries: number
  readonly keySlot?: number
}

/** An enclave that has been assessed, and what seals to it. */
export async function withEnclave<T>(choice: EnclaveChoice, work: (keeper: Keeper) => Promise<T>): Promise<T> {
  await using enclave = await openEnclave({ backend: choice.backend })
  const options = { policy: choice.policy, startedHere: true }
  const trusted = await TrustedEnclave.assess(askEnclave(enclave), options, atTerminal())
  return await work({ enclave, seal: (asked, secrets) => trusted.seal(asked, secrets) })
}

/** A header that can be shown although nothing may be done with it. */
export function warnOfTampering(metadata: Metadata, path: string): void {
  const found = tampering(metadata)
  if (found !== null) err.line(`WARNING! ${path}: ${tamperingWords(found)}`)
}

/** The header of the volume at `path`, or in the file of a detached one. */
export async function withHeader<T>(
  path: string,
  header: string | undefined,
  { readOnly }: { readonly readOnly: boolean },
  work: (store: HeaderStore) => Promise<T>,
): Promise<T> {
  const device = await openForHeader(header ?? path, { readOnly })
  try {
    const store = await HeaderStore.open(device)
    const warn = (stale: typeof store.stale) => {
      if (stale.length > 0) err.line(`WARNING! ${path}: ${brokenWords(header ?? path, stale)}`)
    }
    if (readOnly) {
      warn(store.stale)
      warnOfTampering(store.header.metadata, path)
    }
    const result = await work(store)
    // A change has mended it; a failure is told in one line, by itself.
    if (!readOnly && store.stale.length > 0) warn((await readCopies(device)).stale)
    return result
  } finally {
    await device.close()
  }
}

/** Header and enclave: what every keyslot operation takes. Throws LUKS2_TAMPERED (exit 4). */
export function withKeeper<T>(
  path: string,
  options: EnclaveChoice & { readonly header?: string },
  work: (keeper: VolumeKeeper) => Promise<T>,
): Promise<T> {
  return withHeader(path, options.header, { readOnly: false }, (store) => {
    checkTampering(store.header.metadata, `use ${path}`)
    for (const fault of faultsOf(store.header.metadata)) err.line(`WARNING! ${path}: ${faultWords(fault)}`)
    return withEnclave(options, (keeper) => work({ ...keeper, store, path }))
  })
}

/** Half of the memory, as cryptsetup: the other half is for who uses the machine. */
function limits(enclave: Enclave) {
  return {
    memoryKib: Math.min(enclave.identity.kdfMemoryKib, Math.floor(totalmem() / 2048)),
    cpus: availableParallelism(),
  }
}

/** The keyslot a new passphrase gets, its KDF measured where that is asked for or cryptsetup would. */
export async function freshKeyslot(
  enclave: Enclave,
  options: FreshOptions,
  { secret, slot }: Pick<FreshKeyslot, "secret" | "slot">,
): Promise<FreshKeyslot> {
  const request: KdfRequest = {
    type: options.pbkdf ?? "argon2id",
    memoryKib: options.pbkdfMemory ?? null,
    lanes: options.pbkdfParallel ?? null,
    iterations: options.pbkdfForceIterations ?? null,
    timeMs: options.iterTime ?? null,
  }
  const portable = options.portable === true
  // A portable keyslot's KDF makes the area's key, ours a slot passphrase.
  const benchmark = (kdf: Kdf) => enclave.benchmark(kdf, portable ? 64 : 32)
  const choose = portable ? portableKdf : tresorKdf
  const kdf = await withClock("Measuring the KDF", choose(request, limits(enclave), benchmark))
  return portable
    ? { type: "portable", secret, slot, kdf }
    : {
        type: "tresor",
        secret,
        slot,
        kdf,
        policy: options.sealPolicy ?? "mrsigner",
        made: { host: hostname(), on: new Date().toISOString().slice(0, 10) },
      }
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

/** A passphrase to be set: typed twice, unless in batch mode. Throws PASSPHRASE_EMPTY (exit 1). */
export async function readNew(
  prompt: string,
  source: SecretSource,
  options: { readonly batchMode?: true },
): Promise<Uint8Array> {
  const secret = await readSecret(prompt, source, { verify: options.batchMode !== true })
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
