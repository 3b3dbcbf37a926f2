/** What exports by a socket have in common in a takeover: a server that is held, and a volume that it reads and writes. */
import type { Enclave } from "../../enclave/types.ts"
import type { OpenHeader } from "../../header/access.ts"
import type { Volume } from "../../volume/volume.ts"
import type { Next, Say, YieldedExport } from "./export.ts"
import { takeoverStalled } from "./messages.ts"
import type { Takeover } from "./successor.ts"

/** Process IDs of clients that stopped in the middle of a request, or take no answers. */
interface Stalled {
  readonly stalled: readonly number[]
}

export interface HoldingServer<Held extends object> {
  hold(): Promise<Held | Stalled>
  release(held: Held): Promise<void>
}

/** `give`: says to the successor what is held, and gives its descriptors. */
export function yieldedServer<Held extends object>(
  name: string,
  server: HoldingServer<Held>,
  volume: Pick<Volume, "discards" | "claims" | "settle">,
  give: (held: Held, say: Say) => Promise<void>,
): YieldedExport {
  const { discards, claims } = volume
  return {
    discards,
    claims,
    async hold() {
      const held = await server.hold()
      if ("stalled" in held) throw takeoverStalled(name, held.stalled)
      return {
        settle: () => volume.settle(),
        give: (say) => give(held, say),
        release: () => server.release(held),
      }
    },
  }
}

/**
 * Brings the key into `enclave` and `volume`. Resolves with what is left to serve, as `receive` hears of it. Rejects as
 * Takeover.receive.
 */
export async function takeServer<Held extends object>(
  takeover: Takeover,
  { enclave, volume, header }: { readonly enclave: Enclave; readonly volume: Volume; readonly header: OpenHeader },
  receive: (next: Next, name: string, volume: Volume) => Promise<Held>,
): Promise<Held & { readonly commit: () => Promise<void> }> {
  const held = await takeover.receive(enclave, header, {
    unlock: (handle) => volume.unlock(enclave, handle),
    receive: (next) => receive(next, takeover.name, volume),
  })
  return { ...held, commit: () => takeover.commit() }
}
