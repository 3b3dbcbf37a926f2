/** Puts the legacy service together: record, enclave, /dev/tresor/control. */
import { join } from "node:path"
import * as v from "valibot"
import { backendEntry } from "../control/daemon-options.ts"
import { openEnclave } from "../enclave/loader.ts"
import { stateDir } from "../enclave/machine-secret.ts"
import type { Kdf } from "../luks2/types.ts"
import { KernelRing } from "../mapping/attach.ts"
import { newRecord, readRecord, writeRecord } from "../mapping/record.ts"
import { type LegacyParts, LegacyService } from "./legacy.ts"

/** The options of `tresord --legacy`, in camel case. */
export const legacySchema = v.object({
  /** Of the record. */
  path: v.string(),
  name: v.string(),
  backend: backendEntry,
  sealPolicy: v.optional(
    v.picklist(["mrsigner", "mrenclave"], ({ input }) => `unknown seal policy ${input}; use mrsigner or mrenclave`),
    "mrsigner",
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

export async function startLegacy(options: LegacyOptions): Promise<LegacyService> {
  const { path, pbkdf } = options
  const record = readRecord(path) ?? newRecord(KDFS[pbkdf])
  const enclave = await openEnclave({ backend: options.backend })
  try {
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
