/**
 * A reencryption of a volume that is in use: each zone is quiet while it is converted, requests elsewhere go on. Before its
 * checksums are taken, what users wrote there is flushed: a cut would else leave sectors that match neither. Its
 * requests go on when the header behind it is on stable storage: a journal would undo what they write before.
 */

import { positionOf } from "../luks2/reencryption-position.ts"
import type { Store } from "../store/store.ts"
import { checkZones, type Ended, finish, type Pass, PassStore, zonesOf } from "./run.ts"
import { convertZone, isUnprobed, readZone, recoverZone, UNPROBED, zoneSize } from "./zones.ts"

/** The volume as its users have it. */
export interface InUse {
  readonly ciphertext: Store
  /** Bytes of the volume: requests there wait until `release`; `ready` resolves when none is under way. */
  quiesce(start: number, end: number): { readonly ready: Promise<void>; readonly release: () => void }
}

export interface InUseOptions {
  /** Most bytes of a zone. */
  readonly hotZone: number
  /** Pauses it: between two zones, or while one is waited for. */
  readonly signal: AbortSignal
  /** Before each zone; it may take its time, in which nothing is quiet. */
  readonly pace: (position: number) => Promise<void>
}

function positionIn({ store, reencryption }: Pass): { readonly position: number; readonly hot: number } {
  const where = positionOf(store.header.metadata, reencryption)
  if (typeof where === "string") throw new RangeError(where)
  return { position: Number(where.position), hot: Number(where.hot) }
}

/**
 * Before users have the volume: the zone that was hot is recovered, and the header says that the data may change from now
 * on. Nobody may use the volume meanwhile, or only where the enclave serves nothing of that zone. Returns the position.
 */
export async function prepareUse(pass: Pass): Promise<number> {
  const { store, enclave, handle, total, reencryption } = pass
  await store.repair()
  const header = new PassStore(pass)
  const { position, hot } = positionIn(pass)
  if (hot > 0) await recoverZone(zonesOf(pass, header, hot), position, hot)
  const at = position + hot
  if (at === total) {
    await finish(header, reencryption, store.header)
  } else if (hot > 0 || reencryption.state === null || !isUnprobed(reencryption.state.probe)) {
    await header.write({ position: at, hot: 0 }, { mac: enclave.zone(handle, 0n, UNPROBED), probe: UNPROBED }, null)
  }
  return at
}

/**
 * From `position` to the end, or until the signal pauses it. Throws IoError: then the zone that was converted has no key
 * in this pass, unless nothing of it was begun; all else is as it was.
 */
export async function convertInUse(
  pass: Pass,
  position: number,
  { ciphertext, quiesce }: InUse,
  { hotZone, signal, pace }: InUseOptions,
): Promise<Ended> {
  const { store, reencryption, total, path } = pass
  const header = new PassStore({ ...pass, sequenceId: store.header.sequenceId })
  const zones = zonesOf(pass, header, hotZone)
  checkZones(zones, path)
  const { converter } = zones
  const paused = new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener("abort", () => resolve(), { once: true })
  })
  const memory = new Uint8Array(new ArrayBuffer(Math.min(zoneSize(zones), total - position)))
  let dropped: readonly number[] = []
  for (let at = position; at < total; ) {
    await Promise.race([pace(at), paused])
    if (signal.aborted) return { done: false, dropped: [] }
    const bytes = memory.subarray(0, Math.min(memory.length, total - at))
    const end = at + bytes.length
    const quiet = quiesce(at, end)
    try {
      await Promise.race([quiet.ready, paused])
      if (signal.aborted) return { done: false, dropped: [] }
      await ciphertext.flush()
      const zone = { at, bytes, area: await readZone(zones, at, bytes) }
      const mac = converter.zone(BigInt(bytes.length), UNPROBED)
      await header.write({ position: at, hot: bytes.length }, { mac, probe: UNPROBED }, zone.area)
      await convertZone(zones, zone)
      const closed = converter.zone(0n, UNPROBED)
      if (end < total) await header.write({ position: end, hot: 0 }, { mac: closed, probe: UNPROBED }, null)
      else dropped = await finish(header, reencryption, store.header)
    } finally {
      quiet.release()
    }
    at = end
  }
  return { done: true, dropped }
}

/**
 * Nobody has the volume any more, but the pass is still there: the header is bound to the data again, so that one of
 * another time is found out.
 */
export async function endUse(pass: Pass, probe: Uint8Array): Promise<void> {
  const { enclave, handle, store } = pass
  const header = new PassStore({ ...pass, sequenceId: store.header.sequenceId })
  const { position } = positionIn(pass)
  await header.write({ position, hot: 0 }, { mac: enclave.zone(handle, 0n, probe), probe }, null)
}
