/**
 * A dm-crypt mapping goes to another tresord as it does after a kill: its handle is nobody's for a moment, and the module keeps
 * the requests until another daemon with the same key adds it. Encrypting twice has no effect on a disk.
 */
import type { Enclave } from "../../enclave/types.ts"
import type { OpenHeader } from "../../header/access.ts"
import { graceSeconds } from "../../mapping/module.ts"
import type { KernelVolume } from "../../mapping/volume.ts"
import { yieldedDevice } from "./device.ts"
import type { YieldedExport } from "./export.ts"
import { takeoverFailed } from "./messages.ts"
import type { Takeover } from "./successor.ts"

/** Of the module's grace_seconds; the rest is left for serving on. */
const SHARE = 0.5

export function yieldedMapping(name: string, volume: KernelVolume): YieldedExport {
  return yieldedDevice(name, volume, async () => {
    const counters = await volume.hold()
    const patienceMs = graceSeconds() * 1000 * SHARE
    if (patienceMs === 0) {
      throw takeoverFailed(name, "tresor.ko's grace_seconds is 0, and requests would fail meanwhile; set it to 30")
    }
    return { patienceMs, async settle() {}, give: (say) => say("mapping", { counters }) }
  })
}

/** Brings the key into `enclave`, and serves the mapping. Rejects as Takeover.receive and commit. */
export async function takeMapping(
  takeover: Takeover,
  enclave: Enclave,
  volume: KernelVolume,
  header: OpenHeader,
): Promise<void> {
  const counters = await takeover.receive(enclave, header, {
    unlock() {},
    async receive(next, handle) {
      const { counters } = await next("mapping")
      await volume.prepare(enclave, handle)
      return counters
    },
  })
  await takeover.commit(() => volume.takeOver(counters))
}
