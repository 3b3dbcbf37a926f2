/** What keeps root from the software backend's keys, and where the machine secret is. */

import type { EnclaveIdentity } from "../../enclave/types.ts"
import { judge } from "../../protection/judge.ts"
import { readMachine } from "../../protection/read.ts"
import { placeOf, type SecretKeeping, secretRisk } from "../../protection/words.ts"
import type { DoctorCheck } from "./check.ts"
import type { Machine } from "./machine.ts"

const TPM_DEVICE = "/dev/tpmrm0"
/** An attribute of four bytes, then 1 for "on". */
const SECURE_BOOT_VARIABLE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
const SECURE_BOOT = "; Secure Boot is off here, so PCR 7 keeps no other system out"

const secureBoot = (machine: Machine): boolean => machine.read(SECURE_BOOT_VARIABLE)?.at(-1) === "\u0001"

function secretRemedy(keeping: SecretKeeping, tpm: boolean): string | null {
  if (keeping === "tpm2-pin") return null
  if (keeping === "tpm2") return "add a PIN, whose wrong attempts the TPM counts: `tresor machine reseal --pin`"
  const disk = "keep it on another disk than the volumes (TRESOR_STATE_DIR), or encrypt its disk"
  return tpm ? `seal it to this machine's TPM: \`tresor machine enroll --tpm2 --pin\`; or ${disk}` : disk
}

export function rootChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  if (identity instanceof Error || identity.backend === "sgx") return []
  const states = { closed: "yes", narrowed: "info", open: "no" } as const
  const facts = readMachine(machine, Object.values(identity.memory).includes("memfd_secret"))
  const judged = judge(facts).map(({ verdict, ...rest }): DoctorCheck => ({ ...rest, state: states[verdict] }))
  const { file, disks, keeping } = machine.secret()
  const secret: DoctorCheck = {
    id: "machine-secret",
    name: "machine secret",
    state: "info",
    found: placeOf(file, disks),
    means: `${secretRisk(null, keeping)}${keeping === "file" || secureBoot(machine) ? "" : SECURE_BOOT}`,
    remedy: secretRemedy(keeping, machine.exists(TPM_DEVICE)),
  }
  return [secret, ...judged]
}
