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
export const REQUIREMENT = "online-reencrypt-v2"
const REENCRYPT = "reencrypt"
/** Of the token that keeps the state's MAC; cryptsetup keeps tokens it does not know. */
export const PASS_TOKEN = "tresor-reencrypt"

const PREVIOUS = "backup-previous"
const FINAL = "backup-final"
const HOT = "in-reencryption"

export interface ReencryptArea {
  readonly type: string
  readonly offset: bigint
  readonly size: bigint
  /** Absent in areas of another type. */
  readonly hash: string | null
  readonly sectorSize: number | null
}

/** What our token says of the state that is in the header. */
export interface PassState {
  readonly mac: Uint8Array
  /** SHA-256 of ciphertext behind what is converted. */
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
    },
    previous: withoutFlags(previous[1]),
    final: withoutFlags(final[1]),
    oldDigest: numberOf(digests, previous[0]),
    newDigest: numberOf(digests, final[0]),
    verification: [...digests].find(([, each]) => each.keyslots.includes(slot))?.[0] ?? null,
    state: stateOf(metadata),
  }
}

/** Where it is, in bytes from the volume's start; the rest is as before. */
export interface Position {
  readonly position: bigint
  /** Being converted; 0: nothing is. */
  readonly hot: bigint
  /** Everything is under the new key. */
  readonly done: boolean
}

/**
 * Why a reencryption is not one that Tresor takes on, as one clause; `null`:
 * one key after another, forward, at its place, with a journal or checksums of SHA-256.
 */
export function foreignKind({ requirement, mode, direction, area, previous, final }: Reencryption): string | null {
  if (requirement !== REQUIREMENT) return `it requires ${requirement}`
  if (mode !== "reencrypt") return `its mode is "${mode}"`
  if (direction !== "forward") return `its direction is ${direction}`
  if (area.type !== "checksum" && area.type !== "journal") return `its resilience is ${area.type}`
  if (area.type === "checksum" && area.hash !== "sha256") return `its checksums are of ${area.hash ?? "no hash"}`
  return previous.offset !== final.offset || previous.size !== final.size ? "it moves the data" : null
}

/**
 * Reads the position from the segments, of which each is before, hot or after by its digest; that is what counts, not
 * how many there are (cryptsetup takes one segment under the new key for one that has not begun, and destroys the data).
 * A string: why the segments say nothing.
 */
export function positionOf(
  metadata: Metadata,
  { previous, final, oldDigest, newDigest }: Reencryption,
): Position | string {
  const regular = [...metadata.segments].filter(([, segment]) => !isBackup(segment)).sort(([a], [b]) => a - b)
  const named = (digest: number | null, segment: number) =>
    digest !== null && metadata.digests.get(digest)?.segments.includes(segment) === true
  let [at, position, hot] = [0n, 0n, 0n]
  let stage = 0
  for (const [number, segment] of regular) {
    const [old, fresh] = [named(oldDigest, number), named(newDigest, number)]
    const here = fresh ? (old ? 1 : 0) : old ? 2 : null
    if (here === null) return `no digest names segment ${number}`
    if (here < stage || (here === 1 && stage === 1)) return `segment ${number} is out of order`
    if ((here === 1) !== segment.flags.includes(HOT)) return `segment ${number} is marked wrongly`
    stage = here
    const kind = here === 2 ? previous : final
    if (segment.encryption !== kind.encryption || segment.sectorSize !== kind.sectorSize)
      return `segment ${number} is of neither kind`
    if (segment.offset !== final.offset + at || segment.ivTweak !== at / 512n)
      return `segment ${number} is not at its place`
    const last = number === regular.at(-1)![0]
    if (segment.size === null) {
      if (here === 1) return "the segment under way has no size"
      // Under the new key: nothing is left. Under the old: whatever remains.
      if (here === 0) return { position: at, hot: 0n, done: true }
      return { position, hot, done: false }
    }
    at += segment.size
    if (here === 0) position = at
    if (here === 1) hot = segment.size
    if (last && final.size !== null && at !== final.size) return "its segments are not as long as the volume"
  }
  if (final.size === null && stage === 0) return "its last segment has a size"
  return { position, hot, done: stage === 0 }
}

/** Segments and digests of a position. `total`: bytes of the volume. Backups come last, as everywhere. */
export function placed(
  metadata: Metadata,
  { previous, final, oldDigest, newDigest }: Reencryption,
  { position, hot }: Pick<Position, "position" | "hot">,
  total: bigint,
): Metadata {
  if (oldDigest === null || newDigest === null) throw new RangeError("a reencryption of one key")
  const segments: LuksSegment[] = []
  const [old, fresh]: [number[], number[]] = [[], []]
  const add = (segment: LuksSegment, ...owners: number[][]) => {
    for (const owner of owners) owner.push(segments.length)
    segments.push(segment)
  }
  const part = (kind: LuksSegment, at: bigint, size: bigint | null, flags: readonly string[] = []): LuksSegment => ({
    ...kind,
    offset: kind.offset + at,
    size,
    ivTweak: at / 512n,
    flags,
  })
  const rest = position + hot
  if (position > 0n) add(part(final, 0n, position), fresh)
  if (hot > 0n) add(part(final, position, hot, [HOT]), old, fresh)
  if (rest < total) add(part(previous, rest, previous.size === null ? null : total - rest), old)
  add({ ...previous, flags: [PREVIOUS] }, old)
  add({ ...final, flags: [FINAL] }, fresh)
  const digests = new Map(metadata.digests)
  digests.set(oldDigest, { ...digests.get(oldDigest)!, segments: old })
  digests.set(newDigest, { ...digests.get(newDigest)!, segments: fresh })
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
  readonly area: {
    readonly type: "checksum" | "journal"
    readonly offset: bigint
    readonly size: bigint
    readonly block: number
  }
  /** The segment there will be. */
  readonly final: LuksSegment
  readonly newDigest: number
  readonly verification: Pick<LuksDigest, "hash" | "iterations" | "salt" | "digest">
}

/** The first free number. */
export function freeDigest({ digests }: Metadata): number {
  let number = 0
  while (digests.has(number)) number++
  return number
}

/** A header of one segment, in which keyslots and digest of the new key are already, enters reencryption. */
export function begun(
  metadata: Metadata,
  { slot, area, final, newDigest, verification }: NewPass,
  total: bigint,
): Metadata {
  const oldDigest = numberOf(metadata.digests, 0)
  const previous = metadata.segments.get(0)
  if (oldDigest === null || previous === undefined) throw new RangeError("a header without its segment")
  const keyslot: ForeignKeyslot = {
    type: REENCRYPT,
    foreign: true,
    area: {
      type: area.type,
      offset: area.offset,
      size: area.size,
      encryption: null,
      keySize: null,
      ...(area.type === "checksum"
        ? {
            [extra]: new Map([
              ["hash", '"sha256"'],
              ["sector_size", String(area.block)],
            ]),
          }
        : {}),
    },
    [extra]: new Map([
      ["mode", '"reencrypt"'],
      ["direction", '"forward"'],
      ["key_size", "1"],
      ["priority", "0"],
    ]),
  }
  const { config } = metadata
  const entered: Metadata = {
    ...metadata,
    keyslots: new Map([...metadata.keyslots, [slot, keyslot]]),
    config: { ...config, requirements: [...config.requirements, REQUIREMENT] },
  }
  const digest: LuksDigest = { ...verification, type: "pbkdf2", keyslots: [slot], segments: [] }
  const digests = new Map([...entered.digests, [freeDigest(entered), digest]])
  const pass = { previous, final, oldDigest, newDigest } as Reencryption
  return placed({ ...entered, digests }, pass, { position: 0n, hot: 0n }, total)
}

/**
 * The header when all is under the new key: neither the keyslot of type reencrypt nor what it required is left. Keyslots
 * of the old key are the caller's to drop, before.
 */
export function ended(
  metadata: Metadata,
  { slot, final, oldDigest, newDigest, verification, requirement }: Reencryption,
): Metadata {
  if (newDigest === null) throw new RangeError("a reencryption without its new key")
  const { otherRequirements, ...config } = metadata.config
  const requirements = config.requirements.filter((each) => each !== requirement)
  const others = otherRequirements?.[extra]?.size ?? 0
  const keyslots = new Map(metadata.keyslots)
  keyslots.delete(slot)
  const digests = new Map(metadata.digests)
  for (const number of [oldDigest, verification]) if (number !== null) digests.delete(number)
  digests.set(newDigest, { ...digests.get(newDigest)!, segments: [0] })
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
  const where = positionOf(metadata, reencryption)
  const kind = `${mode === "reencrypt" ? "" : `${mode}, `}${direction}, resilience ${area.type}`
  if (typeof where === "string") return kind
  if (where.done) return `${kind}, all data under the new key`
  const share = total === null || total === 0n ? `${where.position} bytes` : `${(where.position * 100n) / total} %`
  return `${kind}, ${share} done${where.hot > 0n ? ", interrupted in a zone" : ""}`
}
