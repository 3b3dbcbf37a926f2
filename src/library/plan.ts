/** A new volume: looked at where it is to go, made by the enclave, written when its owner has the recovery key. */
import { randomUUID } from "node:crypto"
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import {
  checkLabel,
  checkSectorSize,
  checkSize,
  checkUuid,
  DATA_OFFSET,
  HEADER_SIZE,
  keyBytes,
  type MadeVolume,
  makeVolume,
  type NewVolume,
  writeVolume,
} from "../keyslots/create.ts"
import type { FreshKeyslot, Keeper } from "../keyslots/parts.ts"
import { CIPHER, SECTOR_SIZES } from "../luks2/limits.ts"
import { isSamePath, overlap } from "../store/extent.ts"
import { examineTarget, type Target, withTarget } from "./target.ts"

export interface LayoutOptions {
  /** Bytes of a file to be made, or that it must have. */
  readonly size?: bigint
  /** At most 47 bytes of UTF-8. */
  readonly label?: string
  /** As the label: a second one, which udev matches. */
  readonly subsystem?: string
  /** RFC 9562; default: random. */
  readonly uuid?: string
  /** Bytes: 512, 1024, 2048 or 4096; default: the disk's own sectors, 4096 in a file. */
  readonly sectorSize?: number
  /** Bits: 256 or 512 (the default). */
  readonly keySize?: number
  /** Path of a detached header. */
  readonly header?: string
  /** Overwrite what is there. */
  readonly force?: boolean
}

/** What was made. Sizes in bytes, keySize in bits. */
export interface CreatedVolume {
  readonly path: string
  readonly uuid: string
  readonly label: string
  /** Of the file or device. */
  readonly size: number
  /** Of what clients will have. */
  readonly usable: number
  readonly dataOffset: number
  readonly sectorSize: number
  readonly cipher: string
  readonly keySize: number
  readonly backend: Backend
  readonly keyslot: number
  readonly recoveryKeyslot: number | null
}

/** Where a volume goes and what it will be; nothing is changed yet. */
export interface VolumePlan {
  readonly path: string
  readonly volume: NewVolume
  readonly data: Target
  readonly header: Target | null
}

/** cryptsetup's choice: the disk's own sectors, 4096 bytes in a file; 512 where those do not fit. */
function chooseSectorSize({ sectorSize, size }: Target): NewVolume["sectorSize"] {
  const best = SECTOR_SIZES.find((each) => each === (sectorSize ?? 4096))
  return best !== undefined && size % BigInt(best) === 0n ? best : 512
}

/** Throws HEADER_IN_DATA (exit 4): the first write to the volume would destroy its header. */
export function checkApart(path: string, header: string): void {
  const place = (each: string) => ({ path: each, offset: 0n, size: null })
  if (!isSamePath(path, header) && !overlap(place(path), { ...place(header), size: DATA_OFFSET })) return
  throw new TresorError(
    "HEADER_IN_DATA",
    Exit.wrongDevice,
    `Cannot create a volume on ${path}: the header in ${header} overlaps with the data area; ` +
      "name another file for the header, or leave --header out",
  )
}

/** What does not depend on where it goes. Throws BAD_UUID, BAD_LABEL, BAD_KEY_SIZE (exit 1). */
export function layoutOf({ uuid, label, subsystem, keySize }: LayoutOptions) {
  return {
    uuid: uuid === undefined ? randomUUID() : checkUuid(uuid),
    label: checkLabel(label ?? ""),
    subsystem: checkLabel(subsystem ?? "", "subsystem"),
    keySize: keyBytes(keySize ?? 512),
    headerSize: HEADER_SIZE,
  } as const
}

function describe(options: LayoutOptions, data: Target): NewVolume {
  return {
    ...layoutOf(options),
    sectorSize: options.sectorSize === undefined ? chooseSectorSize(data) : checkSectorSize(options.sectorSize),
    detached: options.header !== undefined,
  }
}

/**
 * Looks at where the volume is to go. Throws TresorError: TARGET_EXISTS, VOLUME_IN_USE (exit 5), HEADER_IN_DATA,
 * TARGET_UNFIT, DEVICE_TOO_SMALL, SIZE_UNALIGNED (exit 4), SIZE_MISSING, SIZE_FIXED, BAD_UUID, BAD_LABEL, BAD_SECTOR_SIZE,
 * BAD_KEY_SIZE (exit 1).
 */
export async function planVolume(path: string, options: LayoutOptions): Promise<VolumePlan> {
  const force = options.force === true
  if (options.header !== undefined) checkApart(path, options.header)
  const data = await examineTarget(path, { size: options.size, force })
  const header = options.header === undefined ? null : await examineTarget(options.header, { size: DATA_OFFSET, force })
  const volume = describe(options, data)
  checkSize(data.size, volume, path)
  return { path, volume, data, header }
}

export interface MakeSteps {
  /** Called when all is made and nothing is written, so that no keyslot exists whose recovery key nobody has. */
  readonly deliver?: () => Promise<void>
  /** Of wiping what was there before: 0 to 1. */
  readonly progress?: (fraction: number) => void
}

/** Writes what the enclave made to the disk, or to the header's file. */
async function write(made: MadeVolume, { data, header }: VolumePlan, progress: (fraction: number) => void) {
  const place = (target: Target) =>
    withTarget(target, (device) => writeVolume(device, made, { wipeOld: target.kind !== "new", progress }))
  if (header === null) return place(data)
  // The header last: without its data it would be taken for a volume.
  await withTarget(data, async () => place(header))
}

/** Has the enclave make what `plan` says, with these keyslots, and writes it. A file made here goes when that fails. */
export async function makePlanned(
  plan: VolumePlan,
  keeper: Keeper,
  keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]],
  { deliver = async () => {}, progress = () => {} }: MakeSteps = {},
): Promise<CreatedVolume> {
  const { path, volume, data, header } = plan
  if (keyslots[0].secret.length === 0) {
    throw new TresorError(
      "PASSPHRASE_EMPTY",
      Exit.badArguments,
      `Cannot create a volume on ${path} with an empty passphrase; give at least one byte`,
    )
  }
  const made = await makeVolume(keeper, volume, keyslots, path)
  await deliver()
  await write(made, plan, progress)
  const dataOffset = header === null ? Number(DATA_OFFSET) : 0
  return {
    path,
    uuid: volume.uuid,
    label: volume.label,
    size: Number(data.size),
    usable: Number(data.size) - dataOffset,
    dataOffset,
    sectorSize: volume.sectorSize,
    cipher: CIPHER,
    keySize: volume.keySize * 8,
    backend: keeper.enclave.identity.backend,
    keyslot: made.slots[0]!,
    recoveryKeyslot: made.slots[1] ?? null,
  }
}
