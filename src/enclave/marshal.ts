/** The product's types as the fields of abi/enclave.h, and back. Pure. */

import * as abi from "../abi/enclave.ts"
import { decode, type Encodable, encode } from "../abi/struct.ts"
import { SECTOR_SIZES } from "../luks2/limits.ts"
import type {
  Digest,
  Hash,
  Header,
  HeaderMacs,
  Kdf,
  KeyslotParameters,
  PublicHeader,
  PublicKeyslot,
  Segment,
} from "../luks2/types.ts"
import type { AskedPass, Pass, PassProgress, Plain, SealPolicy } from "./types.ts"

const SALT_SIZE = 32
export const SEALED_SIZE = abi.sealedSalt.size

export function kdfFields(kdf: Kdf): Encodable<typeof abi.kdf> {
  return kdf.type === "pbkdf2"
    ? { type: abi.KdfType.pbkdf2, hash: abi.HashType[kdf.hash], time: kdf.iterations }
    : { type: abi.KdfType[kdf.type], time: kdf.time, memory_kib: kdf.memoryKib, lanes: kdf.lanes }
}

export function segmentFields(segment: Segment): Encodable<typeof abi.segment> {
  return {
    cipher: abi.CipherType[segment.cipher],
    sector_size: segment.sectorSize,
    key_size: segment.keySize,
    dynamic: segment.size === null ? 1 : 0,
    offset: segment.offset,
    size: segment.size ?? 0n,
    iv_tweak: segment.ivTweak,
  }
}

export function digestFields(digest: Digest): Encodable<typeof abi.digest> {
  return {
    hash: abi.HashType[digest.hash],
    iterations: digest.iterations,
    salt_size: digest.salt.length,
    digest_size: digest.digest.length,
    salt: digest.salt,
    digest: digest.digest,
  }
}

/** Of a digest the enclave is to make. */
export function freshDigestFields({ hash, iterations }: Pick<Digest, "hash" | "iterations">) {
  return { hash: abi.HashType[hash], iterations, salt_size: SALT_SIZE, digest_size: abi.hashSize(hash) }
}

function parameterFields(slot: KeyslotParameters): Encodable<typeof abi.keyslot> {
  return {
    slot: slot.slot,
    kdf: kdfFields(slot.kdf),
    af_hash: abi.HashType[slot.afHash],
    af_stripes: abi.Limit.stripes,
    area_key_size: slot.areaKeySize,
    key_size: slot.keySize,
    area_offset: slot.areaOffset,
    area_size: slot.areaSize,
    ...(slot.passphraseKdf === null ? {} : { pass_kdf: kdfFields(slot.passphraseKdf) }),
  }
}

/** Of a keyslot on disk; `area` and `sealed` are the request's. */
export function keyslotFields(slot: PublicKeyslot): Encodable<typeof abi.keyslot> {
  return {
    ...parameterFields(slot),
    flags: slot.tried ? abi.KEYSLOT_TRY : 0,
    salt_size: slot.salt.length,
    salt: slot.salt,
    sealed_size: slot.sealedSize,
  }
}

/** Of a keyslot the enclave is to make. */
export function freshKeyslotFields(slot: KeyslotParameters): Encodable<typeof abi.keyslot> {
  return {
    ...parameterFields(slot),
    salt_size: SALT_SIZE,
    sealed_size: slot.passphraseKdf === null ? 0 : SEALED_SIZE,
  }
}

export const isPlain = (side: object): side is Plain => "plain" in side

function plainFields({ offset, size }: Plain["plain"]): Encodable<typeof abi.segment> {
  return { cipher: 0, sector_size: 512, dynamic: size === null ? 1 : 0, offset, size: size ?? 0n }
}

export function passFields(
  pass: Pick<Pass<Header | PublicHeader>, "previous" | "final" | "moved" | "area">,
): Encodable<typeof abi.pass> {
  const { previous, final, moved, area } = pass
  const segment = (side: typeof previous) => (isPlain(side) ? plainFields(side.plain) : segmentFields(side.segment))
  const digest = (side: typeof previous) => (isPlain(side) ? {} : digestFields(side.digest))
  const place = (side: typeof previous) => (isPlain(side) ? side.plain : side.segment).offset
  return {
    uuid: new TextEncoder().encode(keyed(pass)[0]!.uuid),
    previous: segment(previous),
    final: segment(final),
    old_digest: digest(previous),
    new_digest: digest(final),
    mode: abi.PassMode[isPlain(previous) ? "encrypt" : isPlain(final) ? "decrypt" : "reencrypt"],
    shift: moved === null ? 0n : isPlain(final) ? place(previous) - place(final) : place(final) - place(previous),
    moved:
      moved === null ? {} : isPlain(previous) ? plainFields(moved) : segmentFields({ ...previous.segment, ...moved }),
    resilience: abi.Resilience[area.resilience],
    block: area.block,
    area_offset: area.offset,
    area_size: area.size,
  }
}

/** The sides of a pass that have a key: one or both, the old one first. */
export const keyed = <H extends object>({ previous, final }: Pick<Pass<H>, "previous" | "final">): readonly H[] =>
  [previous, final].filter((side): side is H => !isPlain(side))

export function progressFields({ position, hot, probe }: PassProgress): Encodable<typeof abi.progress> {
  return { position, hot, probe }
}

/** What of a header a client may see. */
export function publicHeader({ uuid, segment, digest, keyslots, macs }: Header): PublicHeader {
  return {
    uuid,
    segment,
    digest,
    keyslots: keyslots.map(({ area: _, sealed, ...slot }) => ({ ...slot, sealedSize: sealed?.length ?? 0 })),
    authenticated: macs !== null,
  }
}

export function encodeMacs(macs: HeaderMacs): Uint8Array {
  const bytes = new Uint8Array(abi.macs.size)
  const keyslot = new Uint8Array(32 * abi.Limit.keyslots)
  let present = 0
  for (const [slot, mac] of macs.keyslots) {
    keyslot.set(mac, 32 * slot)
    present += 2 ** slot
  }
  encode(abi.macs, { present, segment_present: 1, segment: macs.segment, keyslot }, bytes)
  return bytes
}

export function decodeMacs(bytes: Uint8Array): HeaderMacs {
  const { present, segment, keyslot } = decode(abi.macs, bytes)
  return {
    segment,
    keyslots: new Map(slotsOf(present).map((slot) => [slot, keyslot.slice(32 * slot, 32 * slot + 32)])),
  }
}

/** Bit mask -> keyslot numbers. */
export function slotsOf(mask: number): number[] {
  return Array.from({ length: abi.Limit.keyslots }, (_, slot) => slot).filter((slot) => ((mask >>> slot) & 1) === 1)
}

/*
 * A header as it crosses the control socket: u32 authenticated, struct
 * tresor_segment, struct tresor_digest, struct tresor_keyslot[], with flags,
 * and area and sealed 0. It comes from a host nobody has to believe.
 */

export function encodePublicHeader(header: PublicHeader): Uint8Array {
  const { segment, digest, keyslot } = abi
  const bytes = new Uint8Array(4 + segment.size + digest.size + header.keyslots.length * keyslot.size)
  new DataView(bytes.buffer).setUint32(0, header.authenticated ? 1 : 0, true)
  const first = 4 + segment.size + digest.size
  encode(segment, segmentFields(header.segment), bytes.subarray(4, 4 + segment.size))
  encode(digest, digestFields(header.digest), bytes.subarray(4 + segment.size, first))
  header.keyslots.forEach((each, n) => {
    const at = first + n * keyslot.size
    encode(keyslot, keyslotFields(each), bytes.subarray(at, at + keyslot.size))
  })
  return bytes
}

/** A pass from key to key to be resumed, less what its client decides: what the handle is for, and whether it vouches. */
export interface ShownPass extends Pick<AskedPass<PublicHeader>, "area" | "progress"> {
  readonly previous: PublicHeader
  readonly final: PublicHeader
  /** Its state has a MAC. */
  readonly hasMac: boolean
}

/** A pass on the control socket: u32 hasMac, u32 bytes of the next, the header before, the header after, struct tresor_pass, struct tresor_progress. */
export function encodePass({ previous, final, area, progress, hasMac }: ShownPass): Uint8Array {
  const before = encodePublicHeader(previous)
  const after = encodePublicHeader(final)
  const at = 8 + before.length + after.length
  const bytes = new Uint8Array(at + abi.pass.size + abi.progress.size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, hasMac ? 1 : 0, true)
  view.setUint32(4, before.length, true)
  bytes.set(before, 8)
  bytes.set(after, 8 + before.length)
  encode(abi.pass, passFields({ previous, final, moved: null, area }), bytes.subarray(at, at + abi.pass.size))
  encode(abi.progress, progressFields(progress), bytes.subarray(at + abi.pass.size))
  return bytes
}

/** Throws RangeError for anything `encodePass` does not write. */
export function decodePass(bytes: Uint8Array, uuid: string): ShownPass {
  const tail = bytes.length - abi.pass.size - abi.progress.size
  if (tail < 8) throw new RangeError(`a pass of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const size = view.getUint32(4, true)
  if (size > tail - 8) throw new RangeError(`a header of ${size} bytes in a pass of ${bytes.length}`)
  const { resilience, block, area_offset, area_size } = decode(abi.pass, bytes.subarray(tail))
  const { position, hot, probe } = decode(abi.progress, bytes.subarray(tail + abi.pass.size))
  const pass: ShownPass = {
    hasMac: view.getUint32(0, true) === 1,
    previous: decodePublicHeader(bytes.slice(8, 8 + size), uuid),
    final: decodePublicHeader(bytes.slice(8 + size, tail), uuid),
    area: { resilience: named(abi.Resilience, resilience, "resilience"), block, offset: area_offset, size: area_size },
    progress: { position, hot, probe: probe.slice() },
  }
  sameAgain(encodePass(pass), bytes)
  return pass
}

/** A passphrase of 2016's flow on the control socket: u32 make, u32 policy, struct tresor_kdf. */
export function encodeLegacyParameters(kdf: Kdf, make: SealPolicy | null): Uint8Array {
  const bytes = new Uint8Array(8 + abi.kdf.size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, make === null ? 0 : 1, true)
  view.setUint32(4, make === null ? 0 : abi.SealPolicy[make], true)
  encode(abi.kdf, kdfFields(kdf), bytes.subarray(8))
  return bytes
}

/** Throws RangeError for anything `encodeLegacyParameters` does not write. */
export function decodeLegacyParameters(bytes: Uint8Array): { readonly kdf: Kdf; readonly make: SealPolicy | null } {
  if (bytes.length !== 8 + abi.kdf.size) throw new RangeError(`parameters of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const make = view.getUint32(0, true) === 0 ? null : named(abi.SealPolicy, view.getUint32(4, true), "seal policy")
  const kdf = kdfOf(decode(abi.kdf, bytes.subarray(8)))
  sameAgain(encodeLegacyParameters(kdf, make), bytes)
  return { kdf, make }
}

function sameAgain(again: Uint8Array, bytes: Uint8Array): void {
  if (again.length !== bytes.length || again.some((byte, at) => byte !== bytes[at])) {
    throw new RangeError("fields that mean nothing are set")
  }
}

/** The name a number has in a table of the ABI. Throws RangeError. */
function named<T extends Readonly<Record<string, number>>>(table: T, value: number, what: string): keyof T & string {
  for (const [name, number] of Object.entries(table)) if (number === value) return name
  throw new RangeError(`${what} ${value}`)
}

function oneOf<const T extends readonly number[]>(values: T, value: number, what: string): T[number] {
  if (values.includes(value)) return value
  throw new RangeError(`${what} ${value}`)
}

type KdfValue = { readonly type: number; readonly hash: number; time: number; memory_kib: number; lanes: number }

function kdfOf({ type, hash, time, memory_kib, lanes }: KdfValue): Kdf {
  const name = named(abi.KdfType, type, "KDF")
  return name === "pbkdf2"
    ? { type: name, hash: hashOf(hash), iterations: time }
    : { type: name, time, memoryKib: memory_kib, lanes }
}

const hashOf = (value: number): Hash => named(abi.HashType, value, "hash")

/** At most `size` bytes of a field. */
function part(bytes: Uint8Array, size: number): Uint8Array {
  if (size > bytes.length) throw new RangeError(`${size} bytes in a field of ${bytes.length}`)
  return bytes.slice(0, size)
}

function decodeKeyslot(bytes: Uint8Array): PublicKeyslot {
  const slot = decode(abi.keyslot, bytes)
  if (slot.slot >= abi.Limit.keyslots) throw new RangeError(`keyslot ${slot.slot}`)
  return {
    slot: slot.slot,
    kdf: kdfOf(slot.kdf),
    afHash: hashOf(slot.af_hash),
    areaKeySize: oneOf([32, 64], slot.area_key_size, "area key size"),
    keySize: oneOf([32, 64], slot.key_size, "key size"),
    areaOffset: slot.area_offset,
    areaSize: slot.area_size,
    passphraseKdf: slot.sealed_size === 0 ? null : kdfOf(slot.pass_kdf),
    salt: part(slot.salt, slot.salt_size),
    sealedSize: slot.sealed_size,
    tried: (slot.flags & abi.KEYSLOT_TRY) !== 0,
  }
}

/** Throws RangeError for anything `encodePublicHeader` does not write. */
export function decodePublicHeader(bytes: Uint8Array, uuid: string): PublicHeader {
  const { keyslot, segment, digest } = abi
  const first = 4 + segment.size + digest.size
  const count = (bytes.length - first) / keyslot.size
  if (!Number.isInteger(count) || count < 0 || count > abi.Limit.keyslots) {
    throw new RangeError(`a header of ${bytes.length} bytes`)
  }
  const authenticated = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  const found = decode(segment, bytes.subarray(4))
  const sum = decode(digest, bytes.subarray(4 + segment.size))
  const header: PublicHeader = {
    uuid,
    segment: {
      cipher: named(abi.CipherType, found.cipher, "cipher"),
      sectorSize: oneOf(SECTOR_SIZES, found.sector_size, "sector size"),
      keySize: oneOf([32, 64], found.key_size, "key size"),
      offset: found.offset,
      size: found.dynamic === 1 ? null : found.size,
      ivTweak: found.iv_tweak,
    },
    digest: {
      hash: hashOf(sum.hash),
      iterations: sum.iterations,
      salt: part(sum.salt, sum.salt_size),
      digest: part(sum.digest, sum.digest_size),
    },
    keyslots: Array.from({ length: count }, (_, n) => decodeKeyslot(bytes.subarray(first + n * keyslot.size))),
    authenticated: authenticated === 1,
  }
  sameAgain(encodePublicHeader(header), bytes)
  return header
}
