/** Puts the legacy service together: record, enclave, /dev/tresor/control. */
import { join } from "node:path"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { backendEntry } from "../control/daemon-options.ts"
import { keptByOwner, keptFor, keptPlaces } from "../enclave/kept-images.ts"
import { openEnclave, openPredecessor } from "../enclave/loader.ts"
import { stateDir } from "../enclave/machine-secret.ts"
import { checkReleased } from "../enclave/release-signers.ts"
import type { Enclave } from "../enclave/types.ts"
import { sealerOf } from "../luks2/tresor-token.ts"
import type { Kdf } from "../luks2/types.ts"
import { KernelRing } from "../mapping/attach.ts"
import { type LegacyRecord, newRecord, readRecord, writeRecord } from "../mapping/record.ts"
import { type LegacyParts, LegacyService } from "./legacy.ts"

/** The options of `tresord --legacy`, in camel case. */
export const legacySchema = v.object({
  /** Of the record. */
  path: v.string(),
  name: v.string(),
  backend: backendEntry,
  sealPolicy: v.optional(
    v.picklist(["mrenclave", "mrsigner"], ({ input }) => `unknown seal policy ${input}; use mrenclave or mrsigner`),
    "mrenclave",
  ),
  /** For a record that is made now. */
  pbkdf: v.optional(
    v.picklist(["argon2id", "pbkdf2"], ({ input }) => `unknown KDF ${input}; use argon2id or pbkdf2`),
    "argon2id",
  ),
  /** Passphrases come sealed, by `tresor setkey`. */
  setkey: v.optional(v.boolean(), false),
})

export type LegacyArguments = Readonly<v.InferOutput<typeof legacySchema>>

type LegacyOptions = LegacyArguments & Pick<LegacyParts, "warn" | "onLost">

/** A setkey waits for it, in cryptsetup: about a second on a slow machine. */
const KDFS: Readonly<Record<LegacyArguments["pbkdf"], Kdf>> = {
  argon2id: { type: "argon2id", time: 4, memoryKib: 65536, lanes: 1 },
  pbkdf2: { type: "pbkdf2", hash: "sha256", iterations: 600_000 },
}

export const defaultRecord = (): string => join(stateDir(), "legacy.json")

/**
 * A record opens in the enclave that sealed it, and is never handed over (docs/decisions/0060): after an upgrade that is
 * a kept image, which serves the record as before. Rejects with PREDECESSOR_MISSING (exit 2).
 */
export async function enclaveOf(
  { sealed }: LegacyRecord,
  { path, backend }: Pick<LegacyOptions, "path" | "backend">,
): Promise<Enclave> {
  const enclave = await openEnclave({ backend })
  if (sealed === null) return enclave
  const sealer = sealerOf(sealed)
  if (sealer[sealer.policy] === enclave.identity[sealer.policy]) return enclave
  await enclave.close()
  const image = keptFor(keptPlaces(), sealer)
  const kept = image === null ? null : await openPredecessor(image, { backend })
  if (kept !== null) return kept
  throw new TresorError(
    "PREDECESSOR_MISSING",
    Exit.denied,
    `Cannot serve ${path}: it is sealed to enclave ${sealer.mrenclave.slice(0, 16)}…, whose image is not on this machine ` +
      `any more, or damaged; get ${join(keptPlaces()[0]!, "enclaves", sealer.mrenclave)} back from a backup` +
      (keptByOwner() === null ? "" : `, or ${keptByOwner()}`),
  )
}

export async function startLegacy(options: LegacyOptions): Promise<LegacyService> {
  const { path, pbkdf } = options
  const record = readRecord(path) ?? newRecord(KDFS[pbkdf])
  const enclave = await enclaveOf(record, options)
  try {
    if (record.sealed === null && options.sealPolicy === "mrsigner") {
      checkReleased(enclave.identity.mrsigner, "Cannot seal with policy")
    }
    return new LegacyService({
      ...options,
      sealedOnly: options.setkey,
      record,
      saveRecord: (each) => writeRecord(path, each),
      enclave,
      attach: (each, ring) => new KernelRing(each, ring),
    })
  } catch (error) {
    await enclave.close()
    throw error
  }
}
