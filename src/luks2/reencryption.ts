/**
 * LUKS2's reencryption in a header: what was, what will be, and whether Tresor takes it on
 * (LUKS2 On-Disk Format Specification 1.1.4, section 3.7). Pure.
 */
import { type Extensible, extra } from "./json.ts"
import type { ForeignKeyslot, LuksHeader, LuksSegment, Metadata } from "./metadata.ts"

/** What reencryption of cryptsetup 2.3.7 and later requires of whoever opens the volume; its verification digest has the same number. */
const REQUIREMENT = "online-reencrypt-v2"
/** The same of a decryption that fills the place of the header, from cryptsetup 2.5 on. */
const REQUIREMENT_DOWN = "online-reencrypt-v3"
export const REENCRYPT = "reencrypt"
/** Of the token that keeps the state's MAC; cryptsetup keeps tokens it does not know. */
export const PASS_TOKEN = "tresor-reencrypt"

export const PREVIOUS = "backup-previous"
export const FINAL = "backup-final"
export const MOVED = "backup-moved-segment"
export const HOT = "in-reencryption"

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

/** cryptsetup writes these while it reencrypts, and only then other segments than one of type crypt. */
export const isReencryption = (requirement: string): boolean => /^(online|offline)-reencrypt/.test(requirement)

/** The reencryption a valid header is in; `null`: none. */
export function reencryptionOf(metadata: Metadata): Reencryption | null {
  const { keyslots, segments, digests, config } = metadata
  const requirement = config.requirements.find(isReencryption)
  const found = [...keyslots].find(([, { type }]) => type === REENCRYPT)
  if (requirement === undefined || found === undefined) return null
  const [slot, keyslot] = found
  const flagged = (flag: string) => [...segments].findLast(([, { flags }]) => flags.includes(flag))
  const [previous, final] = [flagged(PREVIOUS), flagged(FINAL)]
  if (previous === undefined || final === undefined) return null
  const { type, offset, size } = keyslot.area
  const hash = member(keyslot.area, "hash")
  const sectorSize = member(keyslot.area, "sector_size")
  // Of an area of another type nobody has checked what it says.
  const shift = /^datashift(-checksum|-journal)?$/.test(type) ? member(keyslot.area, "shift_size") : undefined
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

export const isBackward = ({ direction }: Pick<Reencryption, "direction">): boolean => direction === "backward"

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

export const requirementOf = (pass: Pick<Reencryption, "mode" | "moved">): string =>
  movesDown(pass) ? REQUIREMENT_DOWN : REQUIREMENT

/** Of the digest that names segment 0. */
export const digestOfData = ({ digests }: Metadata): number | null => numberOf(digests, 0)

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
