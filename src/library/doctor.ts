/**
 * Examines this machine. Each check says what it found,
 * what that means for a user, and what to do about it.
 */
import type { EnclaveIdentity } from "../enclave/types.ts"
import type { DoctorCheck } from "./doctor/check.ts"
import { enclaveChecks } from "./doctor/enclave.ts"
import { kernelChecks } from "./doctor/kernel.ts"
import { type Machine, thisMachine } from "./doctor/machine.ts"
import { rootChecks } from "./doctor/root.ts"
import { runtimeCheck } from "./doctor/runtime.ts"
import { sgxChecks } from "./doctor/sgx.ts"

/** Every check of `machine` and of its enclave, or of why that did not start. */
export function examine(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  return [
    ...enclaveChecks(machine, identity),
    ...rootChecks(machine, identity),
    ...sgxChecks(machine, identity),
    ...kernelChecks(machine),
    runtimeCheck(machine),
  ]
}

async function identify(): Promise<EnclaveIdentity | Error> {
  try {
    const { openEnclave } = await import("../enclave/loader.ts")
    await using enclave = await openEnclave({ backend: "auto", excuse: () => {} })
    return enclave.identity
  } catch (error) {
    return error as Error
  }
}

/** Looks at this machine. Whatever is missing is a finding, never an error. */
export async function examineMachine(): Promise<readonly DoctorCheck[]> {
  // First, as an enclave that starts is kept.
  const identity = await identify()
  return examine(await thisMachine(), identity)
}
