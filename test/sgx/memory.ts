/** The whole memory of the machine, and its EPC: where keys are. */
import { readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Machine } from "../vm/machine.ts"
import { aeskeyfind, scheduleStart } from "../vm/memory.ts"

let guarded: Uint8Array | undefined
/** The key of the volume that checks/memory.sh opens: known to the host alone. */
export const guard = (key: Uint8Array): void => {
  guarded = key
}

/**
 * `ok` when all is as it should be, else what is not. QEMU's dump leaves the EPC out, as a real one is encrypted to
 * everybody but its enclaves; the emulated one is read beside it, to show that the search finds what is there.
 */
export async function judgeMemory(machine: Machine, control: string, first: string, last: string): Promise<string> {
  if (guarded === undefined) return "the host has made no volume"
  const path = await machine.dumpMemory()
  const epcPath = join(machine.directory, "epc")
  const [from, to] = [Number(`0x${first}`), Number(`0x${last}`)]
  await machine.command("pmemsave", { val: from, size: to - from + 1, filename: epcPath })
  const [dump, epc] = [readFileSync(path), readFileSync(epcPath)]
  const plain = aeskeyfind(path)
  for (const each of [path, epcPath]) rmSync(each)
  if (!plain.has(control.slice(0, 64))) return "aeskeyfind does not find the key of dm-crypt's aes mapping"
  for (const half of [guarded.subarray(0, 32), guarded.subarray(32, 64)]) {
    if (plain.has(Buffer.from(half).toString("hex")) || dump.includes(scheduleStart(half))) {
      return "the schedule of a guarded key lies outside the EPC"
    }
    if (dump.includes(Buffer.from(half))) return "a guarded key lies outside the EPC"
    if (!epc.includes(scheduleStart(half))) return "a guarded key's schedule is not in the EPC: is this its memory?"
  }
  return "ok"
}
