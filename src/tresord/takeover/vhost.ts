/** A virtual machine's disk goes to another tresord between two messages of its front-end: socket, memory and rings. */
import { filesOf, type HeldFrontEnd } from "../../vhost/front-end.ts"
import type { HeldVhost, VhostServer } from "../../vhost/server.ts"
import type { Volume } from "../../volume/volume.ts"
import type { Next, YieldedExport } from "./export.ts"
import { type Heard, type Message, takeoverFailed } from "./messages.ts"
import { yieldedServer } from "./server.ts"

export function yieldedVhost(name: string, server: VhostServer, volume: Volume): YieldedExport {
  // A flush of the store covers what the rings' threads have written.
  return yieldedServer<HeldVhost>(name, server, volume, async (held, say) => {
    const { listening, refused, counters: served, frontEnd } = held
    if (frontEnd !== null) await say("frontEnd", described(frontEnd), filesOf(frontEnd))
    const { size, counters } = volume
    await say("vhost", { connected: frontEnd !== null, refused, size, counters, served }, [listening])
  })
}

function described({ backend, features, protocol, told, rings: held }: HeldFrontEnd): Message<"frontEnd"> {
  const { memory, record, eventIndex, rings } = held
  return {
    backend: backend !== null,
    features,
    protocol,
    told,
    memory: memory === null ? null : [...memory.regions],
    record,
    eventIndex,
    rings: rings.map(({ kick, call, error, ...ring }) => ({
      ...ring,
      kick: kick >= 0,
      call: call >= 0,
      error: error >= 0,
    })),
  }
}

/** What yieldedVhost has said. Throws UPGRADE_FAILED. */
export async function receiveVhost(next: Next, name: string, volume: Volume): Promise<HeldVhost> {
  let frontEnd: HeldFrontEnd | null = null
  for (;;) {
    const message = await next("frontEnd", "vhost")
    if (message.kind === "frontEnd") {
      frontEnd = frontEndOf(name, message)
      continue
    }
    const { fds, connected, refused, size, counters, served } = message
    const [listening] = fds
    if (listening === undefined || connected !== (frontEnd !== null)) throw incomplete(name)
    await volume.carryOn(size, counters)
    return { listening, refused, counters: served, frontEnd }
  }
}

/** With the descriptors in the order of `filesOf`. Throws UPGRADE_FAILED when there are more or fewer. */
function frontEndOf(name: string, message: Heard<"frontEnd">): HeldFrontEnd {
  const { backend, features, protocol, told, memory, record, eventIndex, rings } = message
  const files = [...message.fds]
  const file = () => {
    const next = files.shift()
    if (next === undefined) throw incomplete(name)
    return next
  }
  const held = {
    socket: file(),
    backend: backend ? file() : null,
    features,
    protocol,
    told,
    rings: {
      memory: memory === null ? null : { regions: memory, files: memory.map(file) },
      record: record === null ? null : { ...record, file: file() },
      eventIndex,
      rings: rings.map(({ kick, call, error, ...ring }) => ({
        ...ring,
        kick: kick ? file() : -1,
        call: call ? file() : -1,
        error: error ? file() : -1,
      })),
    },
  }
  if (files.length > 0) throw incomplete(name)
  return held
}

function incomplete(name: string) {
  return takeoverFailed(name, "the old tresord did not give all of its machine's disk")
}
