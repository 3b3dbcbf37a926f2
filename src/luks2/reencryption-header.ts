/** A header enters a reencryption, has its state, and leaves it. Pure. */
import { AREA_ALIGNMENT, gaps } from "./areas.ts"
import { extra } from "./json.ts"
import { base64 } from "./json-text.ts"
import { KEYSLOTS } from "./limits.ts"
import type { ForeignKeyslot, ForeignToken, LuksDigest, LuksHeader, LuksSegment, Metadata } from "./metadata.ts"
import { PASS_TOKEN, type PassState, REENCRYPT, type Reencryption, requirementOf } from "./reencryption.ts"
import { placed, startOf } from "./reencryption-position.ts"

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
  let best = { offset: 0n, size: 0n }
  for (const { offset, size } of gaps(header)) {
    const whole = size - (size % AREA_ALIGNMENT)
    if (whole > best.size) best = { offset, size: whole }
  }
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
