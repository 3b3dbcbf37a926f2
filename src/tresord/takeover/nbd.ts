/** NBD clients go to another tresord between two requests, each by its socket. */
import type { Enclave } from "../../enclave/types.ts"
import type { HeldConnection } from "../../export/connection.ts"
import type { HeldServer, NbdServer, NbdServerOptions } from "../../export/server.ts"
import type { OpenHeader } from "../../header/access.ts"
import type { Volume } from "../../volume/volume.ts"
import type { HeldExport, Next, YieldedExport } from "./export.ts"
import { takeoverFailed, takeoverStalled } from "./messages.ts"
import type { Takeover } from "./successor.ts"

export function yieldedNbd(name: string, server: NbdServer, volume: Volume): YieldedExport {
  const { discards, claims } = volume
  return {
    discards,
    claims,
    async hold() {
      const held = await server.hold()
      if ("stalled" in held) throw takeoverStalled(name, held.stalled)
      return heldNbd(held, server, volume)
    },
  }
}

function heldNbd(held: HeldServer, server: NbdServer, volume: Volume): HeldExport {
  return {
    settle: () => volume.settle(),
    async give(say) {
      const { connections, refused, listening } = held
      for (const { fd, negotiated, input } of connections) await say("client", { ...negotiated, input }, [fd])
      const { size, counters } = volume
      await say("nbd", { clients: connections.length, refused, size, counters }, [listening])
    },
    release: () => server.release(held),
  }
}

/** Brings the key into `enclave` and `volume`. Resolves with what is left to serve. Rejects as Takeover.receive. */
export async function takeNbd(
  takeover: Takeover,
  enclave: Enclave,
  volume: Volume,
  header: OpenHeader,
): Promise<NonNullable<NbdServerOptions["held"]>> {
  const held = await takeover.receive(enclave, header, {
    unlock: (handle) => volume.unlock(enclave, handle),
    receive: (next) => receive(next, takeover.name, volume),
  })
  return { ...held, commit: () => takeover.commit() }
}

async function receive(next: Next, name: string, volume: Volume): Promise<HeldServer> {
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
