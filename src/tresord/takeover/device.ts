/** What exports by a device of the kernel have in common in a takeover: its requests wait in the kernel while nobody serves it. */
import type { HeldExport, YieldedExport } from "./export.ts"
import { unserved } from "./messages.ts"

export interface YieldedDevice extends Pick<YieldedExport, "discards" | "claims"> {
  letGo(): void
  /** Nobody else serves the device. Rejects when it cannot be served on. */
  serveOn(): Promise<void>
}

/** `hold`: as YieldedExport's, of this kind of device. */
export function yieldedDevice(
  name: string,
  device: YieldedDevice,
  hold: () => Promise<Omit<HeldExport, "letGo" | "release">>,
): YieldedExport {
  const { discards, claims } = device
  return {
    discards,
    claims,
    async hold() {
      return {
        ...(await hold()),
        letGo: () => device.letGo(),
        async release() {
          try {
            await device.serveOn()
          } catch (error) {
            throw unserved(name, error as Error)
          }
        },
      }
    },
  }
}
