/** Puts the legacy service together: record, enclave, /dev/tresor. */
import { join } from "node:path"
import type { Backend } from "../abi/enclave.ts"
import { openEnclave } from "../enclave/loader.ts"
import { stateDir } from "../enclave/machine-secret.ts"
import type { SealPolicy } from "../enclave/types.ts"
import type { Kdf } from "../luks2/types.ts"
import { KernelRing } from "../mapping/attach.ts"
import { newRecord, readRecord, writeRecord } from "../mapping/record.ts"
import { type LegacyParts, LegacyService } from "./legacy.ts"

export interface LegacyOptions
  extends Pick<LegacyParts, "name" | "path" | "sealedOnly" | "sealPolicy" | "warn" | "onLost"> {
  readonly backend: Backend | "auto"
  readonly sealPolicy: SealPolicy
  /** For a record that is made now. */
  readonly pbkdf: "argon2id" | "pbkdf2"
}

/** A setkey waits for it, in cryptsetup: about a second on a slow machine. */
const KDFS: Readonly<Record<LegacyOptions["pbkdf"], Kdf>> = {
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
