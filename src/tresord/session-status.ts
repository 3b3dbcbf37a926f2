/** What a session tells of itself: `status`, `list` and metrics show it. */

import type { VolumeStatus } from "../control/volume.ts"
import type { Enclave } from "../enclave/types.ts"
import type { OpenedKey } from "../keyslots/unlock.ts"
import type { VolumeState } from "../volume/volume-key.ts"
import type { Entered } from "./reencryption.ts"
import type { SessionParts } from "./session-parts.ts"

const STATES: Readonly<Record<VolumeState, VolumeStatus["state"]>> = {
  ready: "unlocked",
  locked: "locked",
  failed: "failed",
  closing: "closing",
  closed: "closing",
}

export interface SessionFacts {
  /** ISO 8601: when it was opened. */
  readonly since: string
  readonly enclave: Enclave
  /** Of the header, by the key of one keyslot; `null`: no key since the start, or since a reencryption was begun. */
  readonly facts: OpenedKey | null
  /** By what it was unlocked last, or in a reencryption the new key's; `null`: not yet. */
  readonly opened: Pick<Entered, "slot" | "segment"> | null
}

export function countersOf(parts: SessionParts): Record<string, number> {
  const served = parts.clients?.()
  const clients = served === undefined ? {} : { connections: served.connections, refused: served.refused }
  const own: Record<string, number> = { ...parts.volume.counters }
  for (const [name, count] of Object.entries(parts.served?.() ?? {})) own[name] = (own[name] ?? 0) + count
  return { ...own, ...clients }
}

export function statusOf(parts: SessionParts, { since, enclave, facts, opened }: SessionFacts): VolumeStatus {
  const { volume, header } = parts
  return {
    name: parts.name,
    path: parts.path,
    opened: (parts.held ?? []).map(({ path, identity }) => ({ path, identity })),
    uuid: header.uuid,
    label: header.label,
    state: STATES[volume.state],
    pid: process.pid,
    export: parts.export,
    uri: parts.uri,
    socket: parts.socket,
    size: volume.size,
    sectorSize: volume.sectorSize,
    cipher: parts.segment.cipher,
    keySize: (opened?.segment ?? parts.segment).keySize,
    readonly: volume.readOnly,
    discards: volume.discards,
    since,
    keyslot: volume.state === "ready" ? (opened?.slot ?? null) : null,
    header:
      facts?.authenticated === true
        ? {
            slotsChanged: [...facts.slotsChanged],
            slotsAdded: [...facts.slotsAdded],
            slotsRemoved: [...facts.slotsRemoved],
          }
        : null,
    enclave: { ...enclave.identity, memory: { ...enclave.identity.memory } },
    transitionCycles: parts.transitionCycles,
    disk: volume.diskStatus ?? null,
    server: volume.serverStatus ?? null,
    lease: parts.lease?.status ?? null,
    device: volume.device ?? null,
    reencryption: parts.reencryption?.status ?? null,
    counters: countersOf(parts),
  }
}
