/**
 * A state directory for tresord --legacy whose record names the cheapest KDF that the enclave takes. Emulated, the
 * default Argon2 takes seconds for each setkey, and tresor_test.ko sets hundreds; a record cannot be edited, because its
 * salt is sealed to its KDF.
 */
import { randomUUID } from "node:crypto"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { openEnclave } from "../../src/enclave/loader.ts"
import { writeRecord } from "../../src/mapping/record.ts"

export async function makeLegacyState(directory: string): Promise<void> {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { mode: 0o700 })
  const identity = {
    uuid: randomUUID(),
    kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
  } as const
  const enclave = await openEnclave({ backend: "software", stateDir: directory })
  try {
    const request = {
      ...identity,
      mode: "cbc",
      keySize: 16,
      salt: { make: "mrsigner" },
      secret: Buffer.alloc(1),
    } as const
    const { handle, sealed } = await enclave.legacy(request)
    enclave.closeVolume(handle)
    writeRecord(join(directory, "legacy.json"), { ...identity, sealed })
  } finally {
    await enclave.close()
  }
}
