/**
 * The data of a reencryption, zone by zone, so that a cut at any write or sync
 * leaves each sector whole under one key and the header knows which: what the
 * zone was (its ciphertext, or checksums of it) is on stable storage before the
 * header that says it is hot, that header before the first new sector, and all
 * new sectors before the header behind them. The last zone has no header
 * behind it: its hot header is followed by the one that ends it all.
 * With a shift of the data each zone is written elsewhere, so that it is
 * whole where it was until the header behind it: nothing else is kept of it.
 * What is read, kept and written is ciphertext, but where one side is plaintext.
 */
import { hash } from "node:crypto"
import { checksums } from "../native/checksums.ts"
import { type Bulk, pageMemory } from "../store/past-cache.ts"

/** SHA-256. */
const CHECKSUM = 32
/** What one read, write or entry moves. */
const PIECE = 1 << 20
/** Reads or writes under way. */
const DEPTH = 8
/** Ranges in one entry (TRESOR_RANGES). */
const RANGES = 256

/** The pass inside the enclave. */
export interface Converter {
  /** Opens the zone of `hot` bytes at the position, or closes it (0); the MAC of that. `last`: what `movedLast` leaves to the end. */
  zone(hot: bigint, probe: Uint8Array, last?: boolean): Uint8Array
  /** In place; ascending, `at` in bytes from the volume's start. */
  convert(parts: readonly { readonly bytes: Uint8Array; readonly at: number }[]): Promise<void>
}

/** The header of the pass. */
export interface PassHeader {
  /** What the area of the keyslot of type reencrypt holds. */
  readArea(length: number, at: number): Promise<Uint8Array>
  /** One crash-safe change; `area` is on stable storage before it, at the area's beginning. */
  write(
    where: { readonly position: number; readonly hot: number },
    state: { readonly mac: Uint8Array; readonly probe: Uint8Array },
    area: Uint8Array | null,
  ): Promise<void>
}

export interface Zones {
  readonly data: Bulk
  /** Bytes of the volume. */
  readonly total: number
  /** Where in the store what begins `at` bytes from the volume's start is, before and after. */
  readonly before: (at: number) => number
  readonly after: (at: number) => number
  /** Bytes at the volume's start that are elsewhere than the rest, before: no zone begins in them and ends behind. */
  readonly moved: number
  /** Those bytes are in their place already, and the last zone; the position is 0 when they are done, and when they are hot. */
  readonly movedLast: boolean
  /** Bytes by which the data move. */
  readonly shift: number
  readonly backward: boolean
  /** The larger of both sector sizes. */
  readonly sector: number
  /** Of zones that stay in their place; those that move need none. */
  readonly resilience: "checksum" | "journal" | "datashift"
  /** Bytes with one checksum. */
  readonly block: number
  readonly areaSize: number
  /** Most bytes of a zone that are wanted, but with a shift, which is its size; twice that is the memory it takes. */
  readonly most: number
  readonly header: PassHeader
  readonly converter: Converter
}

/** Where a probe is taken. */
export type Probed = Pick<Zones, "data" | "total" | "before" | "backward" | "movedLast" | "sector">

export interface Running {
  /** Asked between zones. */
  readonly stop: () => boolean
  /** After each zone; it may take its time. */
  readonly progress: (position: number) => Promise<void>
}

/** Most bytes of a zone for which the area has room, when it stays in its place. */
export const zoneRoom = ({ resilience, block, areaSize }: Pick<Zones, "resilience" | "block" | "areaSize">): number =>
  resilience === "checksum" ? Math.floor(areaSize / CHECKSUM) * block : areaSize

/** Bytes of a zone; 0: the area has no room for one. */
export function zoneSize(zones: Zones): number {
  const { resilience, block, most, sector, moved, movedLast, shift } = zones
  if (resilience === "datashift") return shift
  const unit = resilience === "checksum" ? block : sector
  const holds = zoneRoom(zones)
  // The next zone is not written over before it is read.
  if (movedLast) return moved > holds ? 0 : floor(Math.min(shift, Math.max(most, sector)), sector)
  return floor(Math.min(holds, Math.max(most, unit)), unit)
}

/**
 * In the place of a probe while the volume is in use, since any sector may change then: there is none. The probe at the
 * end of the data is the same.
 */
export const UNPROBED = new Uint8Array(CHECKSUM)
export const isUnprobed = (probe: Uint8Array): boolean => probe.every((byte) => byte === 0)

const floor = (size: number, unit: number): number => size - (size % unit)

/** What of a zone is kept in the area. */
const keptOf = ({ resilience, movedLast, moved }: Zones, from: number): Zones["resilience"] =>
  movedLast && from >= moved ? "datashift" : resilience

/** The zone next to the position, in bytes from the volume's start; empty at the end. */
function zoneAt(zones: Zones, position: number, size: number): { from: number; to: number } {
  const { total, backward, moved, movedLast } = zones
  if (movedLast && position === total) return { from: 0, to: moved }
  if (!backward) return { from: position, to: Math.min(total, position + size) }
  return { from: Math.max(position > moved ? moved : 0, position - size), to: position }
}

/** The position when a zone is converted, and whether nothing is left then. */
const behind = ({ backward, movedLast }: Zones, { from, to }: { from: number; to: number }): number =>
  backward || (movedLast && from === 0) ? from : to
export const isEnd = ({ total, backward, movedLast }: Zones, position: number): boolean =>
  position === (backward || movedLast ? 0 : total)

/** SHA-256 of the next sector at the position, which is as it was before as long as the position is right. */
export async function probeAt(
  { data, total, before, backward, movedLast, sector }: Probed,
  position: number,
): Promise<Uint8Array> {
  if (movedLast && position === 0) return UNPROBED
  const at = backward ? position - sector : movedLast && position === total ? 0 : position
  if (at < 0 || at >= total) return UNPROBED
  const bytes = new Uint8Array(Math.min(sector, total - at))
  await data.read(before(at), bytes)
  return digest(bytes)
}

const digest = (bytes: Uint8Array): Uint8Array => new Uint8Array(hash("sha256", bytes, "buffer"))

function* pieces(length: number, unit = PIECE): Generator<{ readonly at: number; readonly size: number }> {
  for (let at = 0; at < length; at += unit) yield { at, size: Math.min(unit, length - at) }
}

/** At most DEPTH of them under way. */
class Under {
  readonly #running = new Set<Promise<void>>()
  #failed: { readonly error: unknown } | null = null

  async add(work: Promise<void>): Promise<void> {
    const running: Promise<void> = work
      .catch((error: unknown) => {
        this.#failed ??= { error }
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    if (this.#running.size >= DEPTH) await Promise.race(this.#running)
    if (this.#failed !== null) throw await this.#end()
  }

  async all(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#failed !== null) throw await this.#end()
  }

  /** Nothing moves in the caller's memory any more. */
  async #end(): Promise<unknown> {
    await Promise.all(this.#running)
    return this.#failed!.error
  }
}

/** Reads a zone; its checksums, when they are wanted, while more is read. */
export async function readZone(zones: Zones, at: number, into: Uint8Array): Promise<Uint8Array | null> {
  const { data, before, block } = zones
  const resilience = keptOf(zones, at)
  const place = before(at)
  if (resilience !== "checksum") {
    const under = new Under()
    for (const part of pieces(into.length)) {
      await under.add(data.read(place + part.at, into.subarray(part.at, part.at + part.size)))
    }
    await under.all()
    return resilience === "journal" ? into : null
  }
  const sums = new Uint8Array(Math.ceil(into.length / block) * CHECKSUM)
  const under = new Under()
  for (const part of pieces(into.length, Math.ceil(PIECE / block) * block)) {
    const bytes = into.subarray(part.at, part.at + part.size)
    const read = async () => {
      await data.read(place + part.at, bytes)
      sums.set(await checksums(bytes, block), (part.at / block) * CHECKSUM)
    }
    await under.add(read())
  }
  await under.all()
  return sums
}

/** A zone as it was, with what its area is to hold. Read while the one before it becomes hot and is converted. */
export interface OldZone {
  readonly at: number
  readonly bytes: Uint8Array
  readonly area: Uint8Array | null
}

/**
 * Converts from `position` to the end, or until it is to stop, which leaves the header between two zones. Returns whether
 * all data are converted, on stable storage; the header still has the last zone hot then.
 */
export async function convertZones(zones: Zones, position: number, { stop, progress }: Running): Promise<boolean> {
  const { total, converter, header, backward, moved, movedLast } = zones
  const most = Math.min(zoneSize(zones), backward ? position : total - position)
  const room = movedLast ? Math.max(most, moved) : most
  const memories = [pageMemory(room), pageMemory(room)]
  const read = async (place: number, turn: number): Promise<OldZone> => {
    const { from, to } = zoneAt(zones, place, most)
    const bytes = memories[turn % 2]!.subarray(0, to - from)
    return { at: from, bytes, area: await readZone(zones, from, bytes) }
  }
  let next = read(position, 0)
  for (let turn = 1; ; turn++) {
    const zone = await next
    if (stop()) return false
    const hot = zone.bytes.length
    const at = backward ? zone.at + hot : zone.at
    const then = behind(zones, { from: zone.at, to: zone.at + hot })
    const end = isEnd(zones, then)
    // The zone before this one is on stable storage, and its memory free.
    next = end ? next : read(then, turn)
    // Its error is thrown where it is awaited, should this zone end well.
    next.catch(() => {})
    try {
      const probe = await probeAt(zones, then)
      const mac = converter.zone(BigInt(hot), probe, movedLast && zone.at === 0)
      await header.write({ position: at, hot }, { mac, probe }, zone.area)
      await convertZone(zones, zone)
      const closed = converter.zone(0n, probe)
      if (!end) await header.write({ position: then, hot: 0 }, { mac: closed, probe }, null)
    } catch (error) {
      await next.catch(() => {})
      throw error
    }
    await progress(then)
    if (end) return true
  }
}

/** On stable storage when it returns. */
export async function convertZone({ data, after, converter }: Zones, { at, bytes }: OldZone): Promise<void> {
  const under = new Under()
  for (const part of pieces(bytes.length)) {
    const piece = bytes.subarray(part.at, part.at + part.size)
    try {
      await converter.convert([{ bytes: piece, at: at + part.at }])
    } catch (error) {
      await under.all()
      throw error
    }
    await under.add(data.write(after(at) + part.at, piece))
  }
  await under.all()
  await data.flush()
}

async function readOld(data: Bulk, at: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(new ArrayBuffer(size))
  await data.read(at, bytes)
  return bytes
}

/**
 * A zone that was cut off: what is still old of it becomes new. With checksums a block whose bytes are as before is old,
 * every other was written; with a journal or a shift all of it is written again. It may be cut off itself, and done
 * again. Returns the position behind it.
 */
export async function recoverZone(zones: Zones, position: number, hot: number): Promise<number> {
  const { data, backward, before, after, block, header, converter } = zones
  const from = backward ? position - hot : position
  const resilience = keptOf(zones, from)
  const unit = resilience === "checksum" ? Math.ceil(PIECE / block) * block : PIECE
  const sums =
    resilience === "checksum" ? await header.readArea(Math.ceil(hot / block) * CHECKSUM, 0) : new Uint8Array(0)
  for (const part of pieces(hot, unit)) {
    const at = from + part.at
    const bytes =
      resilience === "journal"
        ? await header.readArea(part.size, part.at)
        : await readOld(data, before(from) + part.at, part.size)
    let old: readonly { readonly bytes: Uint8Array; readonly at: number }[] = [{ bytes, at }]
    if (resilience === "checksum") {
      const now = await checksums(bytes, block)
      const runs = oldBlocks(now, sums.subarray((part.at / block) * CHECKSUM), block, part.size)
      old = runs.map((run) => ({ bytes: bytes.subarray(run.from, run.to), at: at + run.from }))
    }
    for (let index = 0; index < old.length; index += RANGES) await converter.convert(old.slice(index, index + RANGES))
    for (const { bytes, at: to } of old) await data.write(after(from) + to - from, bytes)
  }
  await data.flush()
  const then = behind(zones, { from, to: from + hot })
  const probe = await probeAt(zones, then)
  const mac = converter.zone(0n, probe)
  if (!isEnd(zones, then)) await header.write({ position: then, hot: 0 }, { mac, probe }, null)
  return then
}

/** Runs of blocks whose checksums are as they were. `size`: bytes of all. */
function oldBlocks(
  now: Uint8Array,
  before: Uint8Array,
  block: number,
  size: number,
): { readonly from: number; readonly to: number }[] {
  const runs: { from: number; to: number }[] = []
  for (const { at, size: length } of pieces(size, block)) {
    const sum = (of: Uint8Array) => of.subarray((at / block) * CHECKSUM, (at / block + 1) * CHECKSUM)
    if (Buffer.compare(sum(now), sum(before)) !== 0) continue
    const last = runs.at(-1)
    if (last?.to === at) last.to = at + length
    else runs.push({ from: at, to: at + length })
  }
  return runs
}
