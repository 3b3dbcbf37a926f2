/** A LUKS2 header as the enclave takes it: what it can open, in the order cryptsetup would try. Pure. */
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { tooCostly } from "./kdf-cost.ts"
import { CIPHER, STRIPES } from "./limits.ts"
import { madeOf } from "./made.ts"
import type { LuksHeader, LuksKdf, LuksKeyslot, Metadata } from "./metadata.ts"
import { foreignKind, isReencryption, reencryptionOf } from "./reencryption.ts"
import { reencryptionWords } from "./reencryption-position.ts"
import { checkTampering, isHash, isKeySize, unsupported } from "./tampering.ts"
import { isTresorToken, TRESOR_TOKEN, type TresorToken } from "./tresor-token.ts"
import type { Hash, Header, HeaderMacs, Kdf, Keyslot, Segment } from "./types.ts"

function refuse(fact: string): TresorError {
  return new TresorError("LUKS2_UNSUPPORTED", Exit.wrongDevice, `Cannot open this volume: ${fact}; cryptsetup opens it`)
}

/** A mandatory requirement we do not know, or one that only cryptsetup can meet. */
export function unmet({ metadata }: LuksHeader): TresorError {
  const pending = reencryptionOf(metadata)
  if (pending !== null) {
    const ours = foreignKind(pending) === null
    return new TresorError(
      "LUKS2_REQUIREMENTS",
      Exit.wrongDevice,
      `Cannot use this volume: a reencryption is pending (${reencryptionWords(metadata, pending, null)}); finish it with ` +
        (ours ? "`tresor reencrypt --resume`" : "`cryptsetup reencrypt --resume-only`"),
    )
  }
  const { requirements } = metadata.config
  return new TresorError(
    "LUKS2_REQUIREMENTS",
    Exit.wrongDevice,
    `Cannot use this volume: it requires ${requirements.join(", ")}, which Tresor does not support; ` +
      (requirements.some(isReencryption)
        ? "finish the reencryption with `cryptsetup reencrypt`"
        : "use the program that made it, or a newer Tresor"),
  )
}

/** Throws LUKS2_TAMPERED, LUKS2_REQUIREMENTS or LUKS2_UNSUPPORTED (exit 4). */
function checkSupported(header: LuksHeader): void {
  // First: what was tampered with must not be opened by cryptsetup either.
  checkTampering(header.metadata, "open this volume")
  if (header.metadata.config.requirements.length > 0) throw unmet(header)
  const fact = unsupported(header.metadata)
  if (fact !== null) throw refuse(fact)
}

function segmentOf(metadata: Metadata, keySize: 32 | 64): Segment {
  const { offset, size, ivTweak, sectorSize } = metadata.segments.get(0)!
  return { cipher: CIPHER, sectorSize: sectorSize as Segment["sectorSize"], keySize, offset, size, ivTweak }
}

/** The digest of segment 0, in a header that is supported. */
function digestOf(metadata: Metadata) {
  const digest = [...metadata.digests.values()].find(({ segments }) => segments.includes(0))!
  const { keyslots, hash, iterations, salt, digest: bytes } = digest
  return { keyslots, digest: { hash: hash as Hash, iterations, salt, digest: bytes } }
}

/** `null` for a hash the enclave does not have. */
function kdfOf(kdf: LuksKdf): Kdf | null {
  if (kdf.type !== "pbkdf2") return { type: kdf.type, time: kdf.time, memoryKib: kdf.memoryKib, lanes: kdf.cpus }
  return isHash(kdf.hash) ? { type: kdf.type, hash: kdf.hash, iterations: kdf.iterations } : null
}

function tresorTokens(metadata: Metadata): TresorToken[] {
  return [...metadata.tokens.values()].filter(isTresorToken)
}

/**
 * Keyslots whose Tresor token is damaged. The passphrase of a person does not
 * open them, and as plain keyslots they would cost a guesser next to nothing.
 */
function slotsWithoutToken(metadata: Metadata): ReadonlySet<number> {
  const damaged = [...metadata.tokens.values()].filter((token) => token.type === TRESOR_TOKEN && !isTresorToken(token))
  return new Set(damaged.flatMap(({ keyslots }) => keyslots))
}

/** `null`: a keyslot of a kind the enclave does not open. */
function keyslotOf(
  slot: number,
  keyslot: LuksKeyslot,
  token: TresorToken | undefined,
  area: Uint8Array,
  tried: boolean,
): Keyslot | null {
  const kdf = kdfOf(keyslot.kdf)
  if (kdf === null || unsupportedKind(keyslot) !== null) return null
  const { offset, size } = keyslot.area
  return {
    slot,
    kdf,
    afHash: keyslot.af.hash as Hash,
    areaKeySize: keyslot.area.keySize as 32 | 64,
    keySize: keyslot.keySize as 32 | 64,
    areaOffset: offset,
    areaSize: size,
    passphraseKdf: token?.kdf ?? null,
    salt: keyslot.kdf.salt,
    area,
    sealed: token?.sealed ?? null,
    tried,
    made: token === undefined ? null : madeOf(token),
  }
}

/** Why a keyslot is of a kind the enclave does not open, as a predicate; `null` when it is not. */
function unsupportedKind({ kdf, af, keySize, area }: LuksKeyslot): string | null {
  if (kdf.type === "pbkdf2" && !isHash(kdf.hash)) return `has the hash ${kdf.hash}`
  if (!isHash(af.hash)) return `has the hash ${af.hash} (AF)`
  if (af.stripes !== STRIPES) return `has ${af.stripes} stripes`
  if (area.encryption !== CIPHER) return `has the cipher ${area.encryption}`
  return isKeySize(keySize) && area.keySize !== null && isKeySize(area.keySize) ? null : "has another size of key"
}

/** Keyslots of the volume key that cryptsetup opens and the enclave does not, one clause each. */
export function unsupportedKeyslots({ metadata }: LuksHeader): readonly string[] {
  const digest = [...metadata.digests.values()].find(({ segments }) => segments.includes(0))
  return (digest?.keyslots ?? []).flatMap((slot) => {
    const keyslot = metadata.keyslots.get(slot)
    const fact = keyslot === undefined || "foreign" in keyslot ? null : unsupportedKind(keyslot)
    return fact === null ? [] : [`keyslot ${slot} ${fact}, which only cryptsetup supports`]
  })
}

/** cryptsetup's order: preferred first, by number within a priority. */
const rank = (keyslot: LuksKeyslot, slot: number): number => (2 - (keyslot.priority ?? 1)) * 100 + slot

/** The MACs that all tresor tokens of a volume carry; `null`: the header is not authenticated. */
function macsOf(metadata: Metadata): HeaderMacs | null {
  return tresorTokens(metadata)[0]?.mac ?? null
}

/**
 * `areas`: key material by keyslot, as on disk. `tried`: whether the passphrase
 * is tried on a keyslot. Throws as checkSupported.
 */
export function enclaveHeader(
  header: LuksHeader,
  areas: ReadonlyMap<number, Uint8Array>,
  tried: (slot: number) => boolean,
): Header {
  checkSupported(header)
  const { metadata, uuid } = header
  const { keyslots: slots, digest } = digestOf(metadata)
  const without = slotsWithoutToken(metadata)
  const usable = slots.filter((slot) => !without.has(slot))
  const found = usable.flatMap((slot) => {
    const keyslot = metadata.keyslots.get(slot)
    const area = areas.get(slot)
    return keyslot === undefined || "foreign" in keyslot || area === undefined ? [] : [{ slot, keyslot, area }]
  })
  const tokens = tresorTokens(metadata)
  const keyslots = found
    .sort((a, b) => rank(a.keyslot, a.slot) - rank(b.keyslot, b.slot))
    .map(({ slot, keyslot, area }) => {
      const token = tokens.find((each) => each.keyslots.includes(slot))
      return keyslotOf(slot, keyslot, token, area, tried(slot))
    })
    .filter((keyslot) => keyslot !== null)
  const keySize = (found[0]?.keyslot.keySize ?? 64) as Segment["keySize"]
  return { uuid, segment: segmentOf(metadata, keySize), digest, keyslots, macs: macsOf(metadata) }
}

/** Keyslots that do not take hours to try. */
export function affordable({ metadata }: LuksHeader): (slot: number) => boolean {
  const tokens = tresorTokens(metadata)
  const digests = [...metadata.digests.values()]
  return (slot) => {
    const keyslot = metadata.keyslots.get(slot)
    if (keyslot === undefined || "foreign" in keyslot) return false
    const kdf = kdfOf(keyslot.kdf)
    const passphraseKdf = tokens.find((token) => token.keyslots.includes(slot))?.kdf ?? null
    const iterations = Math.max(0, ...digests.map((digest) => (digest.keyslots.includes(slot) ? digest.iterations : 0)))
    return kdf === null || tooCostly({ kdf, passphraseKdf }, { iterations }) === null
  }
}

/** Keyslots that are tried when none is named: priority 0 is left out, and what would take hours. */
export function triedByDefault(header: LuksHeader): (slot: number) => boolean {
  const cheap = affordable(header)
  return (slot) => {
    const keyslot = header.metadata.keyslots.get(slot)
    return keyslot !== undefined && !("foreign" in keyslot) && keyslot.priority !== 0 && cheap(slot)
  }
}

/**
 * A token that was sealed by hardware keeps the volume off the software
 * backend: nothing is silently downgraded. Throws BACKEND_REFUSED (exit 4).
 */
export function requireBackend({ metadata }: LuksHeader, backend: Backend, path: string): void {
  if (backend === "sgx" || !tresorTokens(metadata).some((token) => token.enclave.backend === "sgx")) return
  throw new TresorError(
    "BACKEND_REFUSED",
    Exit.wrongDevice,
    `Cannot open ${path}: it demands an SGX enclave and this is backend ${backend}; ` +
      "open it on its own machine, or with the recovery key: `tresor recover`",
  )
}
