/** A volume's header and an enclave that was assessed: what every operation on keyslots works with. */
import { availableParallelism, hostname, totalmem } from "node:os"
import type { Backend } from "../abi/enclave.ts"
import type { Surroundings } from "../attest/surroundings.ts"
import { askEnclave, TrustedEnclave } from "../attest/trusted-enclave.ts"
import { KdfSpeed } from "../enclave/kdf-speed.ts"
import { openEnclave } from "../enclave/loader.ts"
import { secretName } from "../enclave/machine-secret.ts"
import { checkReleased } from "../enclave/release-signers.ts"
import type { Enclave, SealPolicy } from "../enclave/types.ts"
import { readCopies } from "../header/copies.ts"
import { brokenWords, HeaderStore } from "../header/header-store.ts"
import { openForHeader } from "../header/open.ts"
import { type KdfRequest, portableKdf, tresorKdf } from "../keyslots/kdf.ts"
import type { FreshKeyslot, Keeper, VolumeKeeper } from "../keyslots/parts.ts"
import { faultsOf, faultWords } from "../luks2/faults.ts"
import { checkTampering, tampering, tamperingWords } from "../luks2/tampering.ts"
import type { Kdf } from "../luks2/types.ts"

export interface EnclaveChoice {
  readonly backend: Backend | "auto"
  /** Path of a policy file; absent: by known-enclaves. */
  readonly policy?: string
}

/** Who hears of what, and is asked. */
export interface Audience extends Pick<Surroundings, "ask" | "tell"> {
  /** What is wrong with a header and no reason to stop: one line each. */
  readonly warn: (line: string) => void
}

/** An enclave that has been assessed, and what seals to it. Throws as openEnclave and TrustedEnclave.assess. */
export async function withEnclave<T>(
  choice: EnclaveChoice,
  world: Pick<Surroundings, "ask" | "tell">,
  work: (keeper: Keeper) => Promise<T>,
): Promise<T> {
  await using enclave = await openEnclave({ backend: choice.backend })
  const trusted = await TrustedEnclave.assess(askEnclave(enclave), { policy: choice.policy, startedHere: true }, world)
  return await work({ enclave, seal: (asked, secrets) => trusted.seal(asked, secrets) })
}

/** Where a volume's header lies: on the volume, or in the file of a detached one. */
export interface HeaderPlace {
  readonly path: string
  readonly header: string | undefined
}

/** The header at `place`, open while `work` runs. `shown`: it is used for nothing else, so one that was tampered with is no error. */
export async function withHeader<T>(
  { path, header }: HeaderPlace,
  {
    readOnly,
    warn,
    shown = readOnly,
  }: { readonly readOnly: boolean; readonly warn: Audience["warn"]; readonly shown?: boolean },
  work: (store: HeaderStore) => Promise<T>,
): Promise<T> {
  const device = await openForHeader(header ?? path, { readOnly })
  try {
    const store = await HeaderStore.open(device)
    const warnOfStale = (stale: typeof store.stale) => {
      if (stale.length > 0) warn(`${path}: ${brokenWords(header ?? path, stale)}`)
    }
    if (readOnly) warnOfStale(store.stale)
    if (shown) {
      // It can be shown, although nothing may be done with it.
      const found = tampering(store.header.metadata)
      if (found !== null) warn(`${path}: ${tamperingWords(found)}`)
    }
    const result = await work(store)
    // A change has mended it; a failure is told in one line, by itself.
    if (!readOnly && store.stale.length > 0) warnOfStale((await readCopies(device)).stale)
    return result
  } finally {
    await device.close()
  }
}

/** Header and enclave: what every keyslot operation takes. Throws LUKS2_TAMPERED (exit 4). */
export function withKeeper<T>(
  place: HeaderPlace,
  choice: EnclaveChoice,
  audience: Audience,
  work: (keeper: VolumeKeeper) => Promise<T>,
  { readOnly = false }: { readonly readOnly?: boolean } = {},
): Promise<T> {
  const { path } = place
  return withHeader(place, { readOnly, warn: audience.warn, shown: false }, (store) => {
    checkTampering(store.header.metadata, `use ${path}`)
    for (const fault of faultsOf(store.header.metadata)) audience.warn(`${path}: ${faultWords(fault)}`)
    return withEnclave(choice, audience, (keeper) => work({ ...keeper, store, path }))
  })
}

/** Half of the memory, as cryptsetup: the other half is for who uses the machine. */
function limits(enclave: Enclave) {
  return {
    memoryKib: Math.min(enclave.identity.kdfMemoryKib, Math.floor(totalmem() / 2048)),
    cpus: availableParallelism(),
  }
}

/** How a new passphrase is kept. */
export interface FreshOptions {
  /** cryptsetup opens it too, on any machine; else it is sealed to this machine's enclave. */
  readonly portable?: boolean
  /**
   * Who may unseal: this exact image ("mrenclave", the default), or every later one that its release key signs
   * ("mrsigner"); else SEAL_UNSIGNED.
   */
  readonly sealPolicy?: SealPolicy
  /** What is not given is chosen as cryptsetup does. */
  readonly kdf?: Partial<KdfRequest>
}

/** The keyslot a new passphrase gets, its KDF measured where that is asked for or cryptsetup would. Throws KDF_TOO_WEAK, SEAL_UNSIGNED (exit 1). */
export async function freshKeyslot(
  enclave: Enclave,
  { portable = false, sealPolicy = "mrenclave", kdf = {} }: FreshOptions,
  { secret, slot }: Pick<FreshKeyslot, "secret" | "slot">,
): Promise<FreshKeyslot> {
  if (!portable && sealPolicy === "mrsigner") checkReleased(enclave.identity.mrsigner, "Cannot seal with policy")
  const request: KdfRequest = {
    type: "argon2id",
    memoryKib: null,
    lanes: null,
    iterations: null,
    timeMs: null,
    ...kdf,
  }
  // A portable keyslot's KDF makes the area's key, ours a slot passphrase.
  await using speed = new KdfSpeed(enclave.identity.backend, portable ? 64 : 32)
  const benchmark = (each: Kdf) => speed.measure(each)
  const choose = portable ? portableKdf : tresorKdf
  const chosen = await choose(request, limits(enclave), benchmark)
  if (portable) return { type: "portable", secret, slot, kdf: chosen }
  const made = {
    host: hostname(),
    on: new Date().toISOString().slice(0, 10),
    secret: enclave.identity.backend === "software" ? secretName() : null,
  }
  return { type: "tresor", secret, slot, kdf: chosen, policy: sealPolicy, made }
}
