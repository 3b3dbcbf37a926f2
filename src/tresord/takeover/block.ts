/**
 * A ublk device goes to another tresord as it does after a kill: its server lets go of it, and the kernel keeps the requests
 * until somebody else has fetched them. Nothing is under way on the disk then, so no request has an effect twice.
 */
import type { BlockVolume } from "../../block/volume.ts"
import type { Enclave } from "../../enclave/types.ts"
import type { OpenHeader } from "../../header/access.ts"
import { yieldedDevice } from "./device.ts"
import type { YieldedExport } from "./export.ts"
import { takeoverFailed } from "./messages.ts"
import type { Takeover } from "./successor.ts"

export function yieldedBlock(name: string, volume: BlockVolume): YieldedExport {
  return yieldedDevice(name, volume, async () => {
    const counters = await volume.hold()
    if (counters === null) throw takeoverFailed(name, "its disk has not answered in time what is under way")
    return { settle: () => volume.settle(), give: (say) => say("block", { counters }) }
  })
}

/** Brings the key into `enclave` and `volume`, and serves the device. Rejects as Takeover.receive and commit. */
export async function takeBlock(
  takeover: Takeover,
  enclave: Enclave,
  volume: BlockVolume,
  header: OpenHeader,
): Promise<void> {
  await takeover.receive(enclave, header, {
    unlock: (handle) => volume.prepare(enclave, handle),
    async receive(next) {
      const { counters } = await next("block")
      await volume.look(counters)
    },
  })
  try {
    await takeover.commit(() => volume.takeOver())
  } catch (error) {
    // The predecessor's again; closing it would remove it.
    volume.letGo()
    throw error
  }
}
