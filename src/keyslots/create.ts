/**
 * A new volume: the layout cryptsetup would choose, a volume key the enclave
 * makes and keeps, a first keyslot and, unless refused, one for a recovery key.
 */

import { Exit, TresorError } from "../base/errors.ts"
import { type AreaWrite, HeaderStore } from "../header/header-store.ts"
import { areaSize } from "../luks2/areas.ts"
import { BINARY_HEADER } from "../luks2/binary-header.ts"
import { CIPHER, SECTOR_SIZES } from "../luks2/limits.ts"
import type { ForeignToken, LuksHeader, LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import type { TresorToken } from "../luks2/tresor-token.ts"
import type { Digest, Segment } from "../luks2/types.ts"
import type { Store } from "../store/store.ts"
import { Draft, freshToken, luksKeyslot } from "./draft.ts"
import { type FreshKeyslot, freshParameters, type Keeper, sealPolicy } from "./parts.ts"

/** cryptsetup's default, so that its `reencrypt` and header backups find the room they expect. */
export const DATA_OFFSET = 16n << 20n
/**
 * Binary header and JSON area, twice. cryptsetup's 16 KiB hold about five
 * Tresor tokens with their MACs; 128 KiB hold all 32, and leave room for 64
 * areas of 512-bit keys before the data.
 */
export const HEADER_SIZE = 128 << 10

/** The volume key is random: iterations protect nothing; cryptsetup's minimum. */
const DIGEST = { hash: "sha256", iterations: 1000 } as const

export interface NewVolume {
  readonly uuid: string
  readonly label: string
  readonly subsystem?: string
  readonly sectorSize: Segment["sectorSize"]
  readonly keySize: Segment["keySize"]
  /** Detached header: data starts at 0. */
  readonly detached: boolean
  readonly headerSize: number
  /** Bytes before the data; default: DATA_OFFSET. */
  readonly dataOffset?: bigint
}

export interface MadeVolume {
  readonly header: LuksHeader
  readonly areas: readonly AreaWrite[]
  /** Keyslot numbers, in the order of `keyslots`. */
  readonly slots: readonly number[]
}

/**
 * Throws DEVICE_TOO_SMALL or SIZE_UNALIGNED (exit 4) when `size` bytes cannot
 * hold a volume.
 */
export function checkSize(size: bigint, { detached, sectorSize }: NewVolume, path: string): void {
  const offset = detached ? 0n : DATA_OFFSET
  if (size < offset + BigInt(sectorSize)) {
    throw new TresorError(
      "DEVICE_TOO_SMALL",
      Exit.wrongDevice,
      `Cannot create a volume on ${path}: it has ${size} bytes and the header takes ${offset}; ` +
        `use at least ${(offset >> 20n) + 1n} MiB`,
    )
  }
  if (size % BigInt(sectorSize) !== 0n) {
    throw new TresorError(
      "SIZE_UNALIGNED",
      Exit.wrongDevice,
      `Cannot create a volume on ${path}: its ${size} bytes are not a multiple of the sector size ${sectorSize}; ` +
        "change one of them (--sector-size 512)",
    )
  }
}

/** Throws BAD_SECTOR_SIZE (exit 1). */
export function checkSectorSize(bytes: number): Segment["sectorSize"] {
  const found = SECTOR_SIZES.find((size) => size === bytes)
  if (found !== undefined) return found
  throw new TresorError(
    "BAD_SECTOR_SIZE",
    Exit.badArguments,
    `Cannot use sectors of ${bytes} bytes: LUKS2 has ${SECTOR_SIZES.join(", ")}`,
  )
}

/** The bytes of an XTS key, which is two of AES-128 or of AES-256. Throws BAD_KEY_SIZE (exit 1). */
export function keyBytes(bits: number): Segment["keySize"] {
  if (bits === 256 || bits === 512) return bits === 256 ? 32 : 64
  throw new TresorError(
    "BAD_KEY_SIZE",
    Exit.badArguments,
    `Cannot use a key of ${bits} bits: AES-XTS takes 256 or 512 (the default)`,
  )
}

/** UUID of RFC 9562 in lower case. Throws BAD_UUID (exit 1). */
export function checkUuid(uuid: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)) return uuid.toLowerCase()
  throw new TresorError(
    "BAD_UUID",
    Exit.badArguments,
    "Cannot use this UUID: it is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in hexadecimal digits",
  )
}

/** A label, as a subsystem's, fits 47 bytes and the NUL after them. Throws BAD_LABEL (exit 1). */
export function checkLabel(label: string, what = "label"): string {
  const { length } = new TextEncoder().encode(label)
  if (length <= 47 && !label.includes("\0")) return label
  throw new TresorError(
    "BAD_LABEL",
    Exit.badArguments,
    `Cannot use this ${what}: it is ${length} bytes long; the limit is 47`,
  )
}

function segmentOf(volume: NewVolume): Segment {
  return {
    cipher: CIPHER,
    sectorSize: volume.sectorSize,
    keySize: volume.keySize,
    offset: volume.detached ? 0n : (volume.dataOffset ?? DATA_OFFSET),
    size: null,
    ivTweak: 0n,
  }
}

function emptyMetadata(volume: NewVolume, digest: Digest): Metadata {
  const { offset, size, ivTweak, cipher, sectorSize } = segmentOf(volume)
  return {
    keyslots: new Map(),
    segments: new Map([
      [0, { type: "crypt", offset, size, ivTweak, encryption: cipher, sectorSize, integrity: false, flags: [] }],
    ]),
    digests: new Map([[0, { ...digest, type: "pbkdf2", keyslots: [], segments: [0] }]]),
    tokens: new Map(),
    config: {
      jsonSize: BigInt(volume.headerSize - BINARY_HEADER),
      keyslotsSize: (volume.dataOffset ?? DATA_OFFSET) - 2n * BigInt(volume.headerSize),
      flags: [],
      requirements: [],
    },
  }
}

/** A volume key that the enclave has made, with the one keyslot that opens it. */
export interface MadeKey {
  readonly digest: Digest
  readonly keyslot: LuksKeyslot
  readonly token: TresorToken | ForeignToken | null
  readonly area: AreaWrite
}

/** Has the enclave make a volume key and keyslot `slot`, whose area will be at `offset`, for a secret. Nothing is written. */
export async function makeKey(
  { enclave, seal }: Keeper,
  { uuid, segment }: { readonly uuid: string; readonly segment: Segment },
  fresh: FreshKeyslot,
  slot: number,
  offset: bigint,
): Promise<MadeKey> {
  const parameters = freshParameters(fresh, slot, segment.keySize, { offset, size: areaSize(segment.keySize) })
  const description = { uuid, segment, digest: DIGEST }
  const policy = sealPolicy(fresh)
  const sealed = await seal({ purpose: "create", ...description, fresh: parameters, policy }, { fresh: fresh.secret })
  const { digest, keyslot, macs } = await enclave.create(sealed, description, parameters, policy)
  return {
    digest,
    keyslot: luksKeyslot(parameters, keyslot),
    token: freshToken(fresh, slot, keyslot, enclave.identity, macs),
    area: { offset, bytes: keyslot.area },
  }
}

/**
 * Has the enclave make the volume key and its keyslots. The first is made with
 * the key; each further one is proved by the first. Nothing is written yet.
 */
export async function makeVolume(
  keeper: Keeper,
  volume: NewVolume,
  keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]],
  path: string,
): Promise<MadeVolume> {
  const [first, ...others] = keyslots
  const slot = first.slot ?? 0
  const { uuid, label, subsystem = "", headerSize } = volume
  const made = await makeKey(keeper, { uuid, segment: segmentOf(volume) }, first, slot, 2n * BigInt(headerSize))
  const { digest, keyslot, token, area } = made
  const empty = emptyMetadata(volume, digest)
  const metadata: Metadata = {
    ...empty,
    keyslots: new Map([[slot, keyslot]]),
    digests: new Map([[0, { ...empty.digests.get(0)!, keyslots: [slot] }]]),
    tokens: new Map(token === null ? [] : [[0, token]]),
  }
  const header: LuksHeader = { uuid, label, subsystem, sequenceId: 1n, headerSize, metadata }
  const draft = new Draft(header, new Map([[slot, area.bytes]]), path)
  const slots = [slot]
  for (const each of others) slots.push((await draft.enrol(keeper, { secret: first.secret, slot }, each)).slot)
  return { header: draft.header, areas: [area, ...draft.writes], slots }
}

const WIPE_CHUNK = 1 << 20

/**
 * Writes a volume's header where nothing is to be kept: what another format or
 * an older header left there must not be found again. `progress`: 0 to 1.
 */
export async function writeVolume(
  device: Store,
  { header, areas }: MadeVolume,
  { wipeOld, progress }: { readonly wipeOld: boolean; readonly progress: (fraction: number) => void },
): Promise<void> {
  const end = Number(DATA_OFFSET)
  if (wipeOld) {
    const zeros = new Uint8Array(WIPE_CHUNK)
    for (let offset = 0; offset < end; offset += WIPE_CHUNK) {
      await device.write(offset, zeros)
      progress((offset + WIPE_CHUNK) / end)
    }
    // What md, GPT, ZFS and others keep at the end would have them take the disk for theirs again.
    const { size } = device
    const attached = header.metadata.segments.get(0)!.offset !== 0n
    const from = Math.max(end, size - WIPE_CHUNK)
    if (attached && from < size) await device.write(from, zeros.subarray(0, size - from))
    await device.flush()
  }
  await HeaderStore.format(device, header, areas)
}
