/** Metadata -> JSON area, members in cryptsetup's order. Pure. */
import { base64, type Fields, numbered, numbers, text, uint64, whole } from "./json-text.ts"
import type {
  ForeignKeyslot,
  ForeignToken,
  LuksArea,
  LuksConfig,
  LuksDigest,
  LuksKdf,
  LuksKeyslot,
  LuksSegment,
  Metadata,
} from "./metadata.ts"
import { type TresorToken, tresorMembers } from "./tresor-token.ts"

function emitArea(area: LuksArea): string {
  const fields: Fields = [
    ["type", text(area.type)],
    ["offset", uint64(area.offset)],
    ["size", uint64(area.size)],
    ["encryption", area.encryption === null ? null : text(area.encryption)],
    ["key_size", area.keySize === null ? null : text(area.keySize)],
  ]
  return whole(fields, area)
}

function emitKdf(kdf: LuksKdf): string {
  const fields: Fields =
    kdf.type === "pbkdf2"
      ? [
          ["hash", text(kdf.hash)],
          ["iterations", text(kdf.iterations)],
        ]
      : [
          ["time", text(kdf.time)],
          ["memory", text(kdf.memoryKib)],
          ["cpus", text(kdf.cpus)],
        ]
  return whole([["type", text(kdf.type)], ...fields, ["salt", base64(kdf.salt)]], kdf)
}

function emitKeyslot(keyslot: LuksKeyslot | ForeignKeyslot): string {
  if ("foreign" in keyslot) {
    const fields: Fields = [
      ["type", text(keyslot.type)],
      ["area", emitArea(keyslot.area)],
    ]
    return whole(fields, keyslot)
  }
  const { af } = keyslot
  const afFields: Fields = [
    ["type", text(af.type)],
    ["stripes", text(af.stripes)],
    ["hash", text(af.hash)],
  ]
  const fields: Fields = [
    ["type", text(keyslot.type)],
    ["key_size", text(keyslot.keySize)],
    ["af", whole(afFields, af)],
    ["area", emitArea(keyslot.area)],
    ["kdf", emitKdf(keyslot.kdf)],
    ["priority", keyslot.priority === null ? null : text(keyslot.priority)],
  ]
  return whole(fields, keyslot)
}

function emitSegment(segment: LuksSegment): string {
  const crypt = segment.type === "crypt"
  const fields: Fields = [
    ["type", text(segment.type)],
    ["offset", uint64(segment.offset)],
    ["size", segment.size === null ? text("dynamic") : uint64(segment.size)],
    ["iv_tweak", crypt ? uint64(segment.ivTweak) : null],
    ["encryption", crypt ? text(segment.encryption) : null],
    ["sector_size", crypt ? text(segment.sectorSize) : null],
    ["flags", segment.flags.length === 0 ? null : text(segment.flags)],
  ]
  return whole(fields, segment)
}

function emitDigest(digest: LuksDigest): string {
  const known = digest.fault === undefined
  const fields: Fields = [
    ["type", text(digest.type)],
    ["keyslots", numbers(digest.keyslots)],
    ["segments", numbers(digest.segments)],
    ["hash", known ? text(digest.hash) : null],
    ["iterations", known ? text(digest.iterations) : null],
    ["salt", known ? base64(digest.salt) : null],
    ["digest", known ? base64(digest.digest) : null],
  ]
  return whole(fields, digest)
}

/** A token by itself too: `cryptsetup token import` reads it. */
export function emitToken(token: TresorToken | ForeignToken): string {
  return whole(
    [
      ["type", text(token.type)],
      ["keyslots", numbers(token.keyslots)],
      ...("foreign" in token ? [] : tresorMembers(token)),
    ],
    token,
  )
}

function emitConfig(config: LuksConfig): string {
  const { flags, requirements, otherRequirements } = config
  const mandatory: Fields = [["mandatory", requirements.length === 0 ? null : text(requirements)]]
  const fields: Fields = [
    ["json_size", uint64(config.jsonSize)],
    ["keyslots_size", uint64(config.keyslotsSize)],
    ["flags", flags.length === 0 ? null : text(flags)],
    [
      "requirements",
      requirements.length === 0 && otherRequirements === undefined ? null : whole(mandatory, otherRequirements ?? {}),
    ],
  ]
  return whole(fields, config)
}

export function emitMetadata(metadata: Metadata): string {
  const fields: Fields = [
    ["keyslots", numbered(metadata.keyslots, emitKeyslot)],
    ["tokens", numbered(metadata.tokens, emitToken)],
    ["segments", numbered(metadata.segments, emitSegment)],
    ["digests", numbered(metadata.digests, emitDigest)],
    ["config", emitConfig(metadata.config)],
  ]
  return whole(fields, metadata)
}
