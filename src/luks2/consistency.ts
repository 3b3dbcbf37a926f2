/** Checks a header's objects against each other and against its size. Pure; throws Odd. */
import { isBackup, type LuksSegment, type Metadata } from "./metadata.ts"
import { Odd } from "./reader.ts"

const U64_MAX = (1n << 64n) - 1n

function checkReferences({ keyslots, segments, digests, tokens }: Metadata): void {
  const missing = (what: string, number: number, names: string) =>
    new Odd(`${what} names ${names} ${number}, which does not exist`)
  for (const [number, digest] of digests) {
    for (const slot of digest.keyslots) if (!keyslots.has(slot)) throw missing(`digests.${number}`, slot, "keyslot")
    for (const segment of digest.segments) {
      if (!segments.has(segment)) throw missing(`digests.${number}`, segment, "segment")
    }
  }
  const named = [...digests.values()]
  for (const [slot, { type }] of keyslots) {
    const count = named.filter((digest) => digest.keyslots.includes(slot)).length
    if (type !== "luks2" || count === 1) continue
    throw new Odd(
      count === 0 ? `keyslot ${slot} is unreachable, no digest names it` : `two digests name keyslot ${slot}`,
    )
  }
  for (const [number, { type }] of segments) {
    if (type === "crypt" && !named.some((digest) => digest.segments.includes(number))) {
      throw new Odd(`no digest names segment ${number}`)
    }
  }
  for (const [number, token] of tokens) {
    for (const slot of token.keyslots) if (!keyslots.has(slot)) throw missing(`tokens.${number}`, slot, "keyslot")
  }
}

/**
 * Numbers without gaps, those in use before the remarks (flag "backup-…").
 * Segments may lie in any order, do not overlap, and only the last number is
 * dynamic.
 */
function checkSegments(segments: ReadonlyMap<number, LuksSegment>): void {
  const numbers = [...segments.keys()]
  const gap = numbers.findIndex((number, index) => number !== index)
  if (gap >= 0) throw new Odd(`segment ${gap} is missing`)
  const live = [...segments].filter(([, segment]) => !isBackup(segment))
  if (live.length === 0) throw new Odd("it has no segment")
  const behind = live.findIndex(([number], index) => number !== index)
  if (behind >= 0) throw new Odd(`segment ${live[behind]![0]} comes after a backup segment`)
  const end = ({ offset, size }: LuksSegment) => (size === null ? U64_MAX : offset + size)
  for (const [number, segment] of live) {
    if (segment.size === null && number !== live.length - 1) {
      throw new Odd(`segment ${number} is dynamic and not the last`)
    }
    // Alone it is only larger than any device, and cryptsetup accepts it.
    if (end(segment) > U64_MAX && live.length > 1) throw new Odd(`segment ${number} ends past 2^64`)
    for (const [other, each] of live) {
      if (other !== number && segment.offset >= each.offset && segment.offset < end(each)) {
        throw new Odd(`segments ${number} and ${other} overlap`)
      }
    }
  }
}

/** Keyslot areas: inside the keyslots area, and apart from each other. */
function checkAreas(metadata: Metadata, headerSize: bigint): void {
  const start = 2n * headerSize
  const end = start + metadata.config.keyslotsSize
  const areas = [...metadata.keyslots]
    .map(([slot, { area }]) => ({ slot, offset: area.offset, end: area.offset + area.size }))
    .sort((a, b) => (a.offset < b.offset ? -1 : 1))
  areas.forEach((area, index) => {
    if (area.offset < start || area.end > end)
      throw new Odd(`the area of keyslot ${area.slot} lies outside the keyslots area`)
    const next = areas[index + 1]
    if (next !== undefined && area.end > next.offset) {
      throw new Odd(`the areas of keyslots ${area.slot} and ${next.slot} overlap`)
    }
  })
}

const BINARY_HEADER = 4096n
const KEYSLOTS_SIZE_MAX = 128n << 20n

function checkConfig({ config, segments }: Metadata, headerSize: bigint): void {
  if (config.jsonSize !== headerSize - BINARY_HEADER) {
    throw new Odd(`config.json_size is ${config.jsonSize}, and the JSON area has ${headerSize - BINARY_HEADER} bytes`)
  }
  if (config.keyslotsSize % 4096n !== 0n) throw new Odd("config.keyslots_size is not a multiple of 4096")
  if (config.keyslotsSize > KEYSLOTS_SIZE_MAX) throw new Odd("config.keyslots_size is more than 128 MiB")
  // Offset 0: the header is detached and the data lie elsewhere.
  const offsets = [...segments.values()].filter((segment) => !isBackup(segment)).map(({ offset }) => offset)
  // biome-ignore lint/complexity/useMathMinMax: Math.min takes no bigint
  const data = offsets.reduce((least, offset) => (offset < least ? offset : least))
  if (data !== 0n && 2n * headerSize + config.keyslotsSize > data) {
    throw new Odd("the keyslots area reaches into the data")
  }
}

/** "online-reencrypt", "online-reencrypt-v2", …: as cryptsetup tells them. */
const isOnline = (requirement: string): boolean => /^online-reencrypt(-v[0-9]+)?$/.test(requirement)
/** Those whose meaning cryptsetup 2.6 knows. */
const isKnownOnline = (requirement: string): boolean => /^online-reencrypt(-v[23])?$/.test(requirement)

const sameKind = (a: LuksSegment, b: LuksSegment): boolean =>
  a.type === b.type && (a.type !== "crypt" || (a.sectorSize === b.sectorSize && a.encryption === b.encryption))

/** A reencryption says what was before and what will be, and every segment is one of both. */
function checkReencryption({ keyslots, segments, config }: Metadata): void {
  const slots = [...keyslots.values()].filter(({ type }) => type === "reencrypt").length
  const flags = config.requirements.filter(isOnline)
  if (flags.length > 1) throw new Odd("it requires more than one kind of reencryption")
  if (slots > 1) throw new Odd("it has more than one keyslot of type reencrypt")
  if (slots === 1 && flags.length === 0) throw new Odd("it has a keyslot of type reencrypt and does not require it")
  if (!config.requirements.some(isKnownOnline)) return
  if (slots === 0) throw new Odd("it requires a reencryption and has no keyslot of type reencrypt")
  const backup = (flag: string) => [...segments.values()].findLast((each) => each.flags.includes(flag))
  const [previous, final] = [backup("backup-previous"), backup("backup-final")]
  if (previous === undefined || final === undefined) {
    throw new Odd("it requires a reencryption, and the segment before or after it is missing")
  }
  for (const [number, segment] of segments) {
    if (isBackup(segment)) continue
    const moving = segment.flags.includes("in-reencryption")
    if (!sameKind(segment, final) && (moving || !sameKind(segment, previous))) {
      throw new Odd(`segment ${number} is neither as before the reencryption nor as after it`)
    }
  }
}

/** Throws Odd. */
export function checkMetadata(metadata: Metadata, headerSize: bigint): void {
  checkReferences(metadata)
  checkSegments(metadata.segments)
  checkConfig(metadata, headerSize)
  checkAreas(metadata, headerSize)
  checkReencryption(metadata)
}
