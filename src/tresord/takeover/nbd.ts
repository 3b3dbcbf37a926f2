/** NBD clients go to another tresord between two requests, each by its socket. */
import type { HeldConnection } from "../../export/connection.ts"
import type { HeldServer, NbdServer } from "../../export/server.ts"
import type { Volume } from "../../volume/volume.ts"
import type { Next, YieldedExport } from "./export.ts"
import { takeoverFailed } from "./messages.ts"
import { yieldedServer } from "./server.ts"

export function yieldedNbd(name: string, server: NbdServer, volume: Volume): YieldedExport {
  return yieldedServer<HeldServer>(name, server, volume, async ({ connections, refused, listening }, say) => {
    for (const { fd, negotiated, input } of connections) await say("client", { ...negotiated, input }, [fd])
    const { size, counters } = volume
    await say("nbd", { clients: connections.length, refused, size, counters }, [listening])
  })
}

/** What yieldedNbd has said. Throws UPGRADE_FAILED. */
export async function receiveNbd(next: Next, name: string, volume: Volume): Promise<HeldServer> {
  const connections: HeldConnection[] = []
  for (;;) {
    const message = await next("client", "nbd")
    const [fd] = message.fds
    if (fd === undefined || (message.kind === "nbd" && message.clients !== connections.length)) {
      throw takeoverFailed(name, "the old tresord did not give all of its sockets")
    }
    if (message.kind === "nbd") {
      const { refused, size, counters } = message
      await volume.carryOn(size, counters)
      return { connections, listening: fd, refused }
    }
    const { input, structured, allocation } = message
    connections.push({ fd, input, negotiated: { structured, allocation } })
  }
}
