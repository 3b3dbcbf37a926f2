/** What came of an operation on a header. */
import { Changed } from "../abi/enclave.ts"
import { EnclaveError, statusName } from "./error.ts"
import { slotsOf } from "./marshal.ts"
import type { HeaderFacts } from "./types.ts"

/** Throws what a status other than TRESOR_OK means, with what the enclave found. */
export function judge(
  status: number,
  result: {
    readonly segment_changed: number
    readonly slots_changed: number
    readonly macs_missing: number
    readonly seal_status: number
    readonly needed_kib: number
  },
  added = 0,
  removed = 0,
): void {
  const failed = statusName(status)
  if (failed === null) return
  throw new EnclaveError(failed, {
    ...(failed === "header"
      ? {
          header: {
            ...factsOf({ ...result, slots_added: added, slots_removed: removed }),
            ...(result.macs_missing === 1 ? { macsMissing: true } : {}),
          },
        }
      : {}),
    seal: statusName(result.seal_status),
    neededKib: result.needed_kib,
  })
}

/** The same of a reencryption, where two headers and the pass itself can have been changed. */
export function judgePass(
  status: number,
  {
    changed,
    seal_status,
    needed_kib,
  }: { readonly changed: number; readonly seal_status: number; readonly needed_kib: number },
): void {
  const failed = statusName(status)
  if (failed === null) return
  const passChanged = (changed & Changed.pass) !== 0
  throw new EnclaveError(failed, {
    ...(failed === "header"
      ? {
          header: {
            segmentChanged: (changed & (Changed.old | Changed.new)) !== 0,
            slotsChanged: [],
            slotsAdded: [],
            slotsRemoved: [],
            ...(passChanged ? { passChanged } : {}),
          },
        }
      : {}),
    seal: statusName(seal_status),
    neededKib: needed_kib,
  })
}

export function factsOf(result: {
  readonly segment_changed: number
  readonly slots_changed: number
  readonly slots_added: number
  readonly slots_removed: number
}): HeaderFacts {
  return {
    segmentChanged: result.segment_changed !== 0,
    slotsChanged: slotsOf(result.slots_changed),
    slotsAdded: slotsOf(result.slots_added),
    slotsRemoved: slotsOf(result.slots_removed),
  }
}
