/**
 * LUKS2's reencryption in a header: what was, what will be, how far it is
 * (LUKS2 On-Disk Format Specification 1.1.4, section 3.7; the order of segments
 * and digests is cryptsetup's). Pure.
 */
import { keyslotsArea } from "./areas.ts"
import { type Extensible, extra } from "./json.ts"
import { base64 } from "./json-text.ts"
import { KEYSLOTS } from "./limits.ts"
import {
  type ForeignKeyslot,
  type ForeignToken,
  isBackup,
  type LuksDigest,
  type LuksHeader,
  type LuksSegment,
  type Metadata,
} from "./metadata.ts"

/** What reencryption of cryptsetup 2.3.7 and later requires of whoever opens the volume; its verification digest has the same number. */
const REQUIREMENT = "online-reencrypt-v2"
/** The same of a decryption that fills the place of the header, from cryptsetup 2.5 on. */
const REQUIREMENT_DOWN = "online-reencrypt-v3"
const REENCRYPT = "reencrypt"
/** Of the token that keeps the state's MAC; cryptsetup keeps tokens it does not know. */
export const PASS_TOKEN = "tresor-reencrypt"

const PREVIOUS = "backup-previous"
const FINAL = "backup-final"
const MOVED = "backup-moved-segment"
const HOT = "in-reencryption"

export interface ReencryptArea {
  readonly type: string
  readonly offset: bigint
  readonly size: bigint
  /** Absent in areas of another type. */
  readonly hash: string | null
  readonly sectorSize: number | null
  /** Bytes by which the data move; 0n in areas of another type. */
  readonly shift: bigint
}

/** What our token says of the state that is in the header. */
export interface PassState {
  readonly mac: Uint8Array
  /** SHA-256 of a sector next to what is converted, still as it was. */
  readonly probe: Uint8Array
  /** Bytes of the volume when it began. */
  readonly size: bigint
}

/** A reencryption under way. */
export interface Reencryption {
  /** Of the keyslot of type reencrypt. */
  readonly slot: number
  readonly requirement: string
  readonly mode: string
  readonly direction: string
  readonly area: ReencryptArea
  /** Without their flags. */
  readonly previous: LuksSegment
  readonly final: LuksSegment
  /** Where the start of the data is: what the header displaced, or what displaced the header; `null`: nothing moves. */
  readonly moved: LuksSegment | null
  /** Numbers of digests; `null`: none, as of plaintext. */
  readonly oldDigest: number | null
  readonly newDigest: number | null
  readonly verification: number | null
  readonly state: PassState | null
}

/** A member that is a string or a number, as kept. */
function member(of: Extensible, name: string): unknown {
  const text = of[extra]?.get(name)
  return text === undefined ? undefined : (JSON.parse(text) as unknown)
}

const asText = (value: unknown): string => (typeof value === "string" ? value : "")

function bytesOf(value: unknown): Uint8Array | null {
  try {
    return typeof value === "string" ? Uint8Array.from(atob(value), (char) => char.charCodeAt(0)) : null
  } catch {
    return null
  }
}

function stateOf({ tokens }: Metadata): PassState | null {
  const token = [...tokens.values()].find(({ type }) => type === PASS_TOKEN)
  if (token === undefined) return null
  const [mac, probe, size] = [bytesOf(member(token, "mac")), bytesOf(member(token, "probe")), member(token, "size")]
  const whole = mac?.length === 32 && probe?.length === 32 && typeof size === "string" && /^\d{1,19}$/.test(size)
  return whole ? { mac, probe, size: BigInt(size) } : null
}

function numberOf(digests: Metadata["digests"], segment: number | undefined): number | null {
  const found = [...digests].find(([, { segments }]) => segment !== undefined && segments.includes(segment))
  return found?.[0] ?? null
}

const withoutFlags = (segment: LuksSegment): LuksSegment => ({ ...segment, flags: [] })

/** The reencryption a valid header is in; `null`: none. */
export function reencryptionOf(metadata: Metadata): Reencryption | null {
  const { keyslots, segments, digests, config } = metadata
  const requirement = config.requirements.find((each) => /^(online|offline)-reencrypt/.test(each))
  const found = [...keyslots].find(([, { type }]) => type === REENCRYPT)
  if (requirement === undefined || found === undefined) return null
  const [slot, keyslot] = found
  const flagged = (flag: string) => [...segments].findLast(([, { flags }]) => flags.includes(flag))
  const [previous, final] = [flagged(PREVIOUS), flagged(FINAL)]
  if (previous === undefined || final === undefined) return null
  const { type, offset, size } = keyslot.area
  const hash = member(keyslot.area, "hash")
  const sectorSize = member(keyslot.area, "sector_size")
  const shift = member(keyslot.area, "shift_size")
  const moved = flagged(MOVED)
  return {
    slot,
    requirement,
    mode: asText(member(keyslot, "mode")),
    direction: asText(member(keyslot, "direction")),
    area: {
      type,
      offset,
      size,
      hash: typeof hash === "string" ? hash : null,
      sectorSize: typeof sectorSize === "number" ? sectorSize : null,
      shift: typeof shift === "string" ? BigInt(shift) : 0n,
    },
    previous: withoutFlags(previous[1]),
    final: withoutFlags(final[1]),
    moved: moved === undefined ? null : withoutFlags(moved[1]),
    oldDigest: numberOf(digests, previous[0]),
    newDigest: numberOf(digests, final[0]),
    verification: [...digests].find(([, each]) => each.keyslots.includes(slot))?.[0] ?? null,
    state: stateOf(metadata),
  }
}

/**
 * Whether data move down over the header that was in front of them. The first of them are there to begin with; the
 * position runs from behind these to the end, and they come last, as the zone at position 0.
 */
export const movesDown = ({ mode, moved }: Pick<Reencryption, "mode" | "moved">): boolean =>
  mode === "decrypt" && moved !== null

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

export const isBackward = ({ direction }: Pick<Reencryption, "direction">): boolean => direction === "backward"

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

/** Whether a kind is one that Tresor takes on: at one place or with a shift, in the direction that cryptsetup gives it. */
function foreignMove(reencryption: Reencryption): string | null {
  const { mode, direction, area, previous, final, moved } = reencryption
  const shifts = area.type.startsWith("datashift")
  const plain = { encrypt: previous, decrypt: final }[mode]
  if (plain !== undefined && plain.type !== "linear") return `it is to ${mode}, and its segments say otherwise`
  if (direction !== ((mode === "decrypt") === shifts ? "forward" : "backward")) return `its direction is ${direction}`
  if (!shifts) {
    return previous.offset !== final.offset || previous.size !== final.size || moved !== null
      ? "it moves the data"
      : null
  }
  if (movesDown(reencryption)) {
    const fits =
      area.type !== "datashift" &&
      moved!.type === "crypt" &&
      moved!.offset === 0n &&
      moved!.size !== null &&
      moved!.size <= area.shift &&
      moved!.ivTweak === 0n &&
      moved!.sectorSize === previous.sectorSize &&
      previous.offset === area.shift &&
      final.offset === 0n &&
      previous.size === final.size
    return fits ? null : "it moves the data"
  }
  const fits =
    mode === "encrypt" &&
    area.type === "datashift" &&
    moved?.type === "linear" &&
    moved.size === area.shift &&
    previous.offset === 0n &&
    previous.size !== null &&
    previous.size >= area.shift &&
    moved.offset >= previous.size + area.shift &&
    final.offset === area.shift &&
    final.size === null
  return fits ? null : "it moves the data"
}

/**
 * Why a reencryption is not one that Tresor takes on, as one clause; `null`: one key after another, or to or from
 * plaintext, at its place with a journal or checksums of SHA-256, or with a shift of the data.
 */
export function foreignKind(reencryption: Reencryption): string | null {
  const { requirement, area } = reencryption
  if (requirement !== requirementOf(reencryption)) return `it requires ${requirement}`
  if (!/^(datashift|(datashift-)?(checksum|journal))$/.test(area.type)) return `its resilience is ${area.type}`
  if (area.type.endsWith("checksum") && area.hash !== "sha256") return `its checksums are of ${area.hash ?? "no hash"}`
  return foreignMove(reencryption)
}

const requirementOf = (pass: Pick<Reencryption, "mode" | "moved">): string =>
  movesDown(pass) ? REQUIREMENT_DOWN : REQUIREMENT

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

/** The state's token, in its place or anew. */
export function withState(metadata: Metadata, { mac, probe, size }: PassState): Metadata {
  const token: ForeignToken = {
    type: PASS_TOKEN,
    keyslots: [],
    foreign: true,
    [extra]: new Map([
      ["version", "1"],
      ["mac", base64(mac)],
      ["probe", base64(probe)],
      ["size", `"${size}"`],
    ]),
  }
  const found = [...metadata.tokens].find(([, { type }]) => type === PASS_TOKEN)?.[0]
  let number = found ?? 0
  while (found === undefined && metadata.tokens.has(number)) number++
  return { ...metadata, tokens: new Map([...metadata.tokens, [number, token]]) }
}

/** Number and area of the keyslot of type reencrypt that a header has room for: the largest gap, as cryptsetup takes it. */
export function roomForPass(
  header: LuksHeader,
): { readonly slot: number; readonly offset: bigint; readonly size: bigint } | null {
  const { offset: start, end } = keyslotsArea(header)
  const areas = [...header.metadata.keyslots.values()]
    .map(({ area }) => area)
    .sort((a, b) => (a.offset < b.offset ? -1 : 1))
  let best = { offset: start, size: 0n }
  let at = start
  const gap = (to: bigint) => {
    const from = ((at + 4095n) / 4096n) * 4096n
    const size = to > from ? ((to - from) / 4096n) * 4096n : 0n
    if (size > best.size) best = { offset: from, size }
  }
  for (const area of areas) {
    gap(area.offset)
    if (area.offset + area.size > at) at = area.offset + area.size
  }
  gap(end)
  const slot = Array.from({ length: KEYSLOTS }, (_, number) => number).find(
    (number) => !header.metadata.keyslots.has(number),
  )
  return slot === undefined || best.size === 0n ? null : { slot, ...best }
}

export interface NewPass {
  readonly slot: number
  readonly mode: "reencrypt" | "encrypt" | "decrypt"
  readonly area: {
    readonly type: "checksum" | "journal" | "datashift" | "datashift-checksum" | "datashift-journal"
    readonly offset: bigint
    readonly size: bigint
    readonly block: number
  }
  /** As it is, and as there will be; without flags. */
  readonly previous: LuksSegment
  readonly final: LuksSegment
  /** With a shift, where the volume's first bytes are. */
  readonly moved: LuksSegment | null
  /** `null`: of plaintext. */
  readonly oldDigest: number | null
  readonly newDigest: number | null
  readonly verification: Pick<LuksDigest, "hash" | "iterations" | "salt" | "digest">
}

/** cryptsetup's: decryption is the reverse of encryption, and a shift needs the room at the end first. */
export const directionOf = ({ mode, moved }: Pick<NewPass, "mode" | "moved">): "forward" | "backward" =>
  (mode === "decrypt") === (moved !== null) ? "forward" : "backward"

/** Its position when nothing is converted. `total`: bytes of the volume. */
export const startOf = (pass: Way, total: bigint): bigint =>
  movesDown(pass) ? pass.moved!.size! : isBackward(pass) ? total : 0n

/** Of the digest that names segment 0. */
export const digestOfData = ({ digests }: Metadata): number | null => numberOf(digests, 0)

/** The first free number. */
export function freeDigest({ digests }: Metadata): number {
  let number = 0
  while (digests.has(number)) number++
  return number
}

const quoted = (value: string | bigint): string => `"${value}"`

/** Of the area, beside its place. */
function areaFields({ area: { type, block }, previous, final }: NewPass): ReadonlyMap<string, string> {
  const shift = final.offset > previous.offset ? final.offset - previous.offset : previous.offset - final.offset
  return new Map([
    ...(type.endsWith("checksum")
      ? ([
          ["hash", '"sha256"'],
          ["sector_size", String(block)],
        ] as const)
      : []),
    ...(type.startsWith("datashift") ? [["shift_size", quoted(shift)] as const] : []),
  ])
}

/** A header in which keyslots and digest of the new key are already enters reencryption. `total`: bytes of the volume. */
export function begun(metadata: Metadata, pass: NewPass, total: bigint): Metadata {
  const { slot, mode, area, moved, verification } = pass
  const direction = directionOf(pass)
  const keyslot: ForeignKeyslot = {
    type: REENCRYPT,
    foreign: true,
    area: {
      type: area.type,
      offset: area.offset,
      size: area.size,
      encryption: null,
      keySize: null,
      [extra]: areaFields(pass),
    },
    [extra]: new Map([
      ["mode", quoted(mode)],
      ["direction", quoted(direction)],
      ["key_size", "1"],
      ["priority", "0"],
    ]),
  }
  const { config } = metadata
  const entered: Metadata = {
    ...metadata,
    keyslots: new Map([...metadata.keyslots, [slot, keyslot]]),
    config: { ...config, requirements: [...config.requirements, requirementOf(pass)] },
  }
  const digest: LuksDigest = { ...verification, type: "pbkdf2", keyslots: [slot], segments: [] }
  const digests = new Map([...entered.digests, [freeDigest(entered), digest]])
  const position = startOf({ mode, direction, moved }, total)
  return placed({ ...entered, digests }, { ...pass, direction }, { position, hot: 0n }, total)
}

/**
 * The header when all is converted: neither the keyslot of type reencrypt nor what it required is left. Keyslots
 * of the old key are the caller's to drop, before.
 */
export function ended(
  metadata: Metadata,
  { slot, final, oldDigest, newDigest, verification, requirement }: Reencryption,
): Metadata {
  const { otherRequirements, ...config } = metadata.config
  const requirements = config.requirements.filter((each) => each !== requirement)
  const others = otherRequirements?.[extra]?.size ?? 0
  const keyslots = new Map(metadata.keyslots)
  keyslots.delete(slot)
  const digests = new Map(metadata.digests)
  for (const number of [oldDigest, verification]) if (number !== null) digests.delete(number)
  if (newDigest !== null) digests.set(newDigest, { ...digests.get(newDigest)!, segments: [0] })
  return {
    ...metadata,
    keyslots,
    digests,
    segments: new Map([[0, final]]),
    tokens: new Map([...metadata.tokens].filter(([, { type }]) => type !== PASS_TOKEN)),
    config: { ...config, requirements, ...(others > 0 ? { otherRequirements } : {}) },
  }
}

/**
 * The header as it was before (`"old"`), or will be after: one segment, the keyslots of its key. Areas and numbers of
 * the other keyslots stay taken.
 */
export function sideOf(header: LuksHeader, reencryption: Reencryption, side: "old" | "new"): LuksHeader {
  const { metadata } = header
  const segment = side === "old" ? reencryption.previous : reencryption.final
  const number = side === "old" ? reencryption.oldDigest : reencryption.newDigest
  const digest = number === null ? undefined : metadata.digests.get(number)
  const ours = digest?.keyslots ?? []
  const keyslots = new Map(
    [...metadata.keyslots].map(([slot, keyslot]) =>
      ours.includes(slot) ? ([slot, keyslot] as const) : ([slot, taken(keyslot.area)] as const),
    ),
  )
  const tokens = [...metadata.tokens].filter(([, token]) => token.keyslots.some((slot) => ours.includes(slot)))
  const { otherRequirements: _, ...config } = metadata.config
  return {
    ...header,
    metadata: {
      ...metadata,
      keyslots,
      segments: new Map([[0, segment]]),
      digests: new Map(digest === undefined ? [] : [[0, { ...digest, segments: [0] }]]),
      tokens: new Map(tokens),
      config: { ...config, requirements: [] },
    },
  }
}

/** Stands for a keyslot of another key: its number and area are not free. */
export function taken(area: ForeignKeyslot["area"]): ForeignKeyslot {
  return { type: "taken", area, foreign: true }
}

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
