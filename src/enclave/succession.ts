/** The host's part of a succession (abi/enclave.h, struct tresor_handover): two enclaves of one machine are shown to each other. */
import { report as reportStruct, TARGET_INFO_SIZE } from "../abi/sgx.ts"
import { decode } from "../abi/struct.ts"
import type { Enclave, Successor } from "./types.ts"

/** TARGETINFO (SDM 38.16) that makes EREPORT write for the enclave whose REPORT this is. */
function targetInfoOf(report: Uint8Array): Uint8Array {
  const { mrenclave, attributes, cet_attributes, config_svn, misc_select, config_id } = decode(reportStruct, report)
  const target = new Uint8Array(TARGET_INFO_SIZE)
  const view = new DataView(target.buffer)
  target.set(mrenclave, 0)
  target.set(attributes, 32)
  view.setUint8(48, cet_attributes)
  view.setUint16(50, config_svn, true)
  view.setUint32(52, misc_select, true)
  target.set(config_id, 64)
  return target
}

/** What makes another enclave's `report` one for `predecessor` to check. Rejects as Enclave.report. */
export async function targetInfo(predecessor: Enclave): Promise<Uint8Array> {
  return targetInfoOf(await predecessor.report(new Uint8Array(TARGET_INFO_SIZE), new Uint8Array(32)))
}

/** `successor` as the enclave with this TARGETINFO can check it. Rejects as Enclave.report. */
export async function showTo(target: Uint8Array, nonce: Uint8Array, successor: Enclave): Promise<Successor> {
  return {
    mrenclave: successor.identity.mrenclave,
    publicKey: successor.identity.publicKey,
    report: await successor.report(target, nonce),
    nonce,
  }
}

/** `successor` as `predecessor` can check it. Rejects as Enclave.report. */
export async function introduce(successor: Enclave, predecessor: Enclave): Promise<Successor> {
  return showTo(await targetInfo(predecessor), crypto.getRandomValues(new Uint8Array(32)), successor)
}
