/** How far a reencryption is: segments and digests of a position, and the position that they say. The order is cryptsetup's. Pure. */
import { isBackup, type LuksSegment, type Metadata } from "./metadata.ts"
import { FINAL, HOT, isBackward, MOVED, movesDown, PREVIOUS, type Reencryption } from "./reencryption.ts"

/**
 * Where it is, in bytes from the volume's start: what is before the position is converted, or, when the direction is
 * backward, what is behind it; the rest is as before.
 */
export interface Position {
  readonly position: bigint
  /** Next to what is converted: being converted; 0: nothing is. */
  readonly hot: bigint
  /** Everything is converted. */
  readonly done: boolean
}

type Way = Pick<Reencryption, "mode" | "direction" | "moved">

/** The position when the hot zone is converted too; 0 when all is in a pass that `movesDown`. */
export function behindZone(pass: Way, { position, hot }: Omit<Position, "done">): bigint {
  if (movesDown(pass) && position < pass.moved!.size!) return 0n
  return isBackward(pass) ? position - hot : position + hot
}

/** Bytes that are converted, of `total`. */
export function converted(pass: Way, { position, hot }: Omit<Position, "done">, total: bigint): bigint {
  if (movesDown(pass)) return position === 0n ? total - hot : position - pass.moved!.size!
  return isBackward(pass) ? total - position : position
}

/** Where the data that start `at` bytes from the volume's start are before they are converted, in bytes of the device. */
export function placeBefore({ previous, moved }: Pick<Reencryption, "previous" | "moved">, at: bigint): bigint {
  return moved !== null && at < moved.size! ? moved.offset + at : previous.offset + at
}

const tweak = ({ type }: LuksSegment, at: bigint): bigint => (type === "crypt" ? at / 512n : 0n)

/** 0: converted, 1: hot, 2: as before; `null`: none of them. Plaintext has no digest. */
function stageOf(
  { digests }: Metadata,
  { mode, oldDigest, newDigest }: Reencryption,
  [number, { type, flags }]: readonly [number, LuksSegment],
): 0 | 1 | 2 | null {
  const named = (digest: number | null) => digest !== null && digests.get(digest)?.segments.includes(number) === true
  const [old, fresh] = [named(oldDigest), named(newDigest)]
  if (type === "linear") {
    if (old || fresh) return null
    return mode === "encrypt" ? 2 : mode === "decrypt" ? (flags.includes(HOT) ? 1 : 0) : null
  }
  if (mode === "encrypt") return fresh ? (flags.includes(HOT) ? 1 : 0) : null
  return fresh ? (old ? 1 : 0) : old ? 2 : null
}

/**
 * Reads the position from the segments, of which each is before, hot or after by its digest; that is what counts, not
 * how many there are (cryptsetup takes one segment under the new key for one that has not begun, and destroys the data).
 * A string: why the segments say nothing. `total`: bytes of the volume; it is the position of a reencryption that is to
 * go backward from the end of a volume whose size follows the device.
 */
export function positionOf(metadata: Metadata, reencryption: Reencryption, total = 0n): Position | string {
  const { previous, final, moved } = reencryption
  if (movesDown(reencryption)) return positionDown(metadata, reencryption, total)
  const backward = isBackward(reencryption)
  const regular = regularOf(metadata)
  let [at, hot] = [0n, 0n]
  let [before, after] = [0n, 0n]
  let last: 0 | 1 | 2 | null = null
  for (const [number, segment] of regular) {
    const here = stageOf(metadata, reencryption, [number, segment])
    if (here === null) return `no digest names segment ${number}`
    if (last !== null && (backward ? here > last : here < last)) return `segment ${number} is out of order`
    if (here === 1 && last === 1) return `segment ${number} is out of order`
    if ((here === 1) !== segment.flags.includes(HOT)) return `segment ${number} is marked wrongly`
    last = here
    const kind = here === 2 ? previous : final
    if (segment.encryption !== kind.encryption || segment.sectorSize !== kind.sectorSize)
      return `segment ${number} is of neither kind`
    const place = here === 2 ? placeBefore(reencryption, at) : final.offset + at
    if (segment.offset !== place || segment.ivTweak !== tweak(segment, at))
      return `segment ${number} is not at its place`
    if (moved !== null && here === 2 && at < moved.size! && (segment.size === null || at + segment.size > moved.size!))
      return `segment ${number} is longer than what was moved`
    if (segment.size === null) {
      if (here === 1) return "the segment under way has no size"
      // Converted: nothing is left before it, or all of this is behind the position. As before: whatever remains.
      if (here === 0) return { position: before + hot, hot, done: before + hot === 0n }
      return backward ? { position: total, hot: 0n, done: false } : { position: after, hot, done: false }
    }
    at += segment.size
    if (here === 0) after += segment.size
    if (here === 1) hot = segment.size
    if (here === 2) before += segment.size
  }
  const size = moved === null ? final.size : previous.size
  if (size !== null && at !== size) return "its segments are not as long as the volume"
  if (backward) return { position: before + hot, hot, done: before + hot === 0n }
  if (size === null && last === 0) return "its last segment has a size"
  return { position: after, hot, done: last === 0 }
}

const regularOf = ({ segments }: Metadata): (readonly [number, LuksSegment])[] =>
  [...segments].filter(([, segment]) => !isBackup(segment)).sort(([a], [b]) => a - b)

/** The same where data move down: the first segment is converted last, the others are converted, hot and as before. */
function positionDown(metadata: Metadata, reencryption: Reencryption, total: bigint): Position | string {
  const { previous, final, moved } = reencryption
  const first = moved!.size!
  let [at, position, hot] = [0n, first, 0n]
  let head: 0 | 1 | 2 | null = null
  let last: 0 | 1 | 2 = 0
  let endless = false
  for (const [number, segment] of regularOf(metadata)) {
    const here = stageOf(metadata, reencryption, [number, segment])
    if (here === null) return `no digest names segment ${number}`
    if ((here === 1) !== segment.flags.includes(HOT)) return `segment ${number} is marked wrongly`
    const kind = here === 2 ? previous : final
    if (segment.encryption !== kind.encryption || segment.sectorSize !== kind.sectorSize)
      return `segment ${number} is of neither kind`
    const place = here === 2 ? placeBefore(reencryption, at) : at
    if (endless || segment.offset !== place || segment.ivTweak !== tweak(segment, at))
      return `segment ${number} is not at its place`
    endless = segment.size === null
    if (endless && here === 1) return "the segment under way has no size"
    const end = segment.size !== null ? at + segment.size : total > at ? total : at
    if (head === null) {
      if (here !== 0 && end !== first) return `segment ${number} is not as long as what was moved`
      head = here
    } else {
      if (here < last || (here === 1 && last === 1) || (here !== 0 && head !== 2))
        return `segment ${number} is out of order`
      last = here
      if (here === 0) position = end
    }
    if (here === 1) hot = segment.size!
    at = end
  }
  if (previous.size !== null && at !== previous.size) return "its segments are not as long as the volume"
  return { position: head === 2 ? position : 0n, hot, done: head === 0 }
}

/** Segments and digests of a position. `total`: bytes of the volume. Backups come last, as everywhere. */
export function placed(
  metadata: Metadata,
  reencryption: Pick<Reencryption, "mode" | "previous" | "final" | "moved" | "direction" | "oldDigest" | "newDigest">,
  { position, hot }: Pick<Position, "position" | "hot">,
  total: bigint,
): Metadata {
  const { previous, final, moved, oldDigest, newDigest } = reencryption
  const segments: LuksSegment[] = []
  const [old, fresh]: [number[], number[]] = [[], []]
  const add = (segment: LuksSegment, ...owners: number[][]) => {
    if (segment.type === "crypt") for (const owner of owners) owner.push(segments.length)
    segments.push(segment)
  }
  const down = movesDown(reencryption)
  // The last one follows the device as it did, unless the data move in it.
  const sized = (kind: LuksSegment, from: bigint, to: bigint) =>
    to === total && kind.size === null && (moved === null || down) ? null : to - from
  const before = (from: bigint, to: bigint) => {
    if (from >= to) return
    const head = moved === null || from >= moved.size! ? to : moved.size! < to ? moved.size! : to
    const part = { offset: placeBefore(reencryption, from), ivTweak: tweak(previous, from), flags: [] }
    add({ ...previous, ...part, size: head < to ? head - from : sized(previous, from, to) }, old)
    before(head, to)
  }
  const after = (from: bigint, to: bigint, size: bigint | null, flags: readonly string[], ...owners: number[][]) => {
    if (from < to) add({ ...final, offset: final.offset + from, ivTweak: tweak(final, from), size, flags }, ...owners)
  }
  const rest = behindZone(reencryption, { position, hot })
  if (isBackward(reencryption)) {
    before(0n, rest)
    after(rest, position, hot, [HOT], old, fresh)
    after(position, total, sized(final, position, total), [], fresh)
  } else if (down && position === 0n) {
    after(0n, hot, hot, [HOT])
    after(hot, total, sized(final, hot, total), [])
  } else if (down) {
    before(0n, moved!.size!)
    after(moved!.size!, position, sized(final, moved!.size!, position), [])
    after(position, rest, hot, [HOT])
    before(rest, total)
  } else {
    after(0n, position, position, [], fresh)
    after(position, rest, hot, [HOT], old, fresh)
    before(rest, total)
  }
  add({ ...previous, flags: [PREVIOUS] }, old)
  add({ ...final, flags: [FINAL] }, fresh)
  if (moved !== null) add({ ...moved, flags: [MOVED] }, old)
  const digests = new Map(metadata.digests)
  for (const [number, owned] of [[oldDigest, old] as const, [newDigest, fresh] as const]) {
    if (number !== null) digests.set(number, { ...digests.get(number)!, segments: owned })
  }
  return { ...metadata, segments: new Map(segments.entries()), digests }
}

/** Its position when nothing is converted. `total`: bytes of the volume. */
export const startOf = (pass: Way, total: bigint): bigint =>
  movesDown(pass) ? pass.moved!.size! : isBackward(pass) ? total : 0n

/** "forward, checksum, 43 % done" for people; `total`: bytes of the volume, when known. */
export function reencryptionWords(metadata: Metadata, reencryption: Reencryption, total: bigint | null): string {
  const { mode, direction, area } = reencryption
  const where = positionOf(metadata, reencryption, total ?? 0n)
  const kind = `${mode === "reencrypt" ? "" : `${mode}, `}${direction}, resilience ${area.type}`
  if (typeof where === "string") return kind
  if (where.done) return `${kind}, all data ${mode === "reencrypt" ? "under the new key" : `${mode}ed`}`
  const size = reencryption.moved === null ? total : (reencryption.previous.size ?? total)
  if (size === null && isBackward(reencryption)) return kind
  const done = converted(reencryption, where, size ?? 0n)
  const share = size === null || size === 0n ? `${done} bytes` : `${(done * 100n) / size} %`
  return `${kind}, ${share} done${where.hot > 0n ? ", interrupted in a zone" : ""}`
}
