/** Plaintext that becomes a volume in place: what is checked and held before its first byte is written. */
import { Exit, TresorError } from "../base/errors.ts"
import { formatSize } from "../base/size.ts"
import { checkNotOpen } from "../control/in-use.ts"
import { readBytes } from "../header/bytes.ts"
import { HeaderStore } from "../header/header-store.ts"
import { openForHeader } from "../header/open.ts"
import { checkSectorSize, DATA_OFFSET, type NewVolume, writeVolume } from "../keyslots/create.ts"
import type { FreshKeyslot, Keeper } from "../keyslots/parts.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { displace, mendDisplaced } from "../reencrypt/displace.ts"
import { checkEncryption, makeEncryption } from "../reencrypt/encrypt.ts"
import type { FileStore } from "../store/file-store.ts"
import { filesystemSize } from "../store/filesystem-size.ts"
import { signatureOn } from "../store/signature.ts"
import type { Store } from "../store/store.ts"
import { type Audience, type EnclaveChoice, type HeaderPlace, withEnclave } from "./keeper.ts"
import { checkApart, type LayoutOptions, layoutOf } from "./plan.ts"
import { lockedForReencryption, openToReencrypt, type Reencrypting } from "./reencrypt.ts"
import { examineTarget, type Target, withTarget } from "./target.ts"

/** Where the header of what is plaintext yet will be: in a file of its own, or in front of the data. */
export interface EncryptionLayout
  extends Pick<LayoutOptions, "label" | "subsystem" | "uuid" | "sectorSize" | "keySize"> {
  /** Path of a detached header, to be made. */
  readonly header?: string
  /** Without a detached header: bytes at the end that are unused; half of them is for the header. */
  readonly reduceDeviceSize?: bigint
}

/** Half of --reduce-device-size: a header of some keyslots, and, twice, the memory it takes. */
const [SHIFT_MIN, SHIFT_MAX] = [2n << 20n, 256n << 20n]

export interface Encrypting extends Keeper {
  readonly path: string
  readonly volume: NewVolume
  /** Bytes of the data. */
  readonly size: number
  /** What is known of the bytes at the end that are lost; `null`: nothing is lost, or nothing is there. */
  readonly lost: string | null
  /** Makes the key and writes the header: all data are plaintext yet. `deliver`: before anything is written. */
  readonly begin: (
    keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]],
    resilience: "checksum" | "journal",
    deliver: () => Promise<void>,
  ) => Promise<void>
  /** The volume that was begun. */
  readonly pending: <T>(work: (volume: Reencrypting) => Promise<T>) => Promise<T>
}

function unfit(path: string, fact: string): TresorError {
  return new TresorError("REENCRYPT_UNFIT", Exit.wrongDevice, `Cannot encrypt ${path}: ${fact}`)
}

/** Bytes in front of the data. Throws REENCRYPT_UNFIT (exit 4), REENCRYPT_OPTIONS (exit 1). */
function shiftOf(path: string, { header, reduceDeviceSize }: EncryptionLayout): bigint {
  if (header !== undefined && reduceDeviceSize === undefined) return 0n
  if (header !== undefined || reduceDeviceSize === undefined) {
    throw new TresorError(
      "REENCRYPT_OPTIONS",
      Exit.badArguments,
      `Cannot encrypt ${path}: it needs one place for its header; name a file with --header, or with ` +
        "--reduce-device-size 32M how much of the device's end is unused",
    )
  }
  const shift = reduceDeviceSize / 2n
  if (reduceDeviceSize % 8192n === 0n && shift >= SHIFT_MIN && shift <= SHIFT_MAX) return shift
  throw unfit(path, "--reduce-device-size takes 4M to 512M, in steps of 8K; 32M is a good size")
}

/** Throws REENCRYPT_UNFIT (exit 4) for a filesystem that reaches into the end. What else is there, or `null`. */
async function examineEnd(path: string, data: Store, shift: bigint): Promise<string | null> {
  if (shift === 0n) return null
  const end = BigInt(data.size) - 2n * shift
  const filesystem = await filesystemSize(data)
  if (filesystem !== null) {
    const { name, size } = filesystem
    if (size <= end) return null
    throw unfit(
      path,
      `its filesystem (${name}) has ${size} bytes and ${end} are left; shrink it first, as with resize2fs, or use --header`,
    )
  }
  for (let at = Number(end); at < data.size; at += 1 << 20) {
    const bytes = await readBytes(data, at, Math.min(1 << 20, data.size - at))
    if (bytes.some((byte) => byte !== 0)) {
      return `the size of what is on ${path} is not known, and its last ${formatSize(2n * shift)} are not empty`
    }
  }
  return null
}

function describe(path: string, data: Store, layout: EncryptionLayout, shift: bigint): NewVolume {
  // A filesystem that is there already may have blocks smaller than 4096 bytes, and no sectors larger than those.
  const least = data.minimumBlock === 4096 ? 4096 : 512
  const volume: NewVolume = {
    ...layoutOf(layout),
    sectorSize: layout.sectorSize === undefined ? least : checkSectorSize(layout.sectorSize),
    detached: shift === 0n,
    ...(shift === 0n ? {} : { dataOffset: shift }),
  }
  checkEncryption(path, data, volume)
  return volume
}

/** Whether a header is where one is to be made, and says that an encryption is pending. */
export async function isBegun({ path, header }: HeaderPlace): Promise<boolean> {
  let device: Store
  try {
    device = await openForHeader(header ?? path, { readOnly: true })
  } catch {
    return false
  }
  try {
    return reencryptionOf((await HeaderStore.open(device)).header.metadata)?.mode === "encrypt"
  } catch {
    return false
  } finally {
    await device.close()
  }
}

/**
 * Ends what a cut left of the start of an encryption with --reduce-device-size: the header is put in its place. Returns
 * whether there was such a thing.
 */
export async function mendStart(path: string, layout: EncryptionLayout): Promise<boolean> {
  const shift = shiftOf(path, layout)
  if (shift === 0n) return false
  const data = await openToReencrypt(path)
  try {
    return await mendDisplaced(data, Number(shift))
  } finally {
    await data.close()
  }
}

/**
 * The plaintext at `path`, which nobody else has meanwhile. Throws VOLUME_IN_USE, STORE_BUSY, TARGET_EXISTS (exit 5),
 * REENCRYPT_UNFIT, HEADER_IN_DATA (exit 4), REENCRYPT_OPTIONS (exit 1), and as withEnclave.
 */
export async function withPlaintext<T>(
  path: string,
  layout: EncryptionLayout,
  choice: EnclaveChoice,
  audience: Audience,
  work: (encrypting: Encrypting) => Promise<T>,
): Promise<T> {
  checkNotOpen(path, "encrypt")
  const shift = shiftOf(path, layout)
  if (layout.header !== undefined) checkApart(path, layout.header)
  const data = await openToReencrypt(path)
  try {
    const signature = await signatureOn(data, { luks: true })
    if (signature !== null && /LUKS/.test(signature)) {
      throw unfit(path, `it holds ${signature} already; \`tresor reencrypt\` gives a volume a new key`)
    }
    const volume = describe(path, data, layout, shift)
    const lost = await examineEnd(path, data, shift)
    const target =
      layout.header === undefined ? null : await examineTarget(layout.header, { size: DATA_OFFSET, force: false })
    return await withEnclave(choice, audience, (keeper) =>
      work({
        ...keeper,
        path,
        volume,
        size: data.size,
        lost,
        begin: (keyslots, resilience, deliver) =>
          begin({ keeper, path, data, volume, target }, { keyslots, resilience }, deliver),
        pending: (then) => pending({ keeper, path, data }, layout.header, then),
      }),
    )
  } finally {
    await data.close()
  }
}

interface Place {
  readonly keeper: Keeper
  readonly path: string
  readonly data: FileStore
}

async function begin(
  { keeper, path, data, volume, target }: Place & { readonly volume: NewVolume; readonly target: Target | null },
  {
    keyslots,
    resilience,
  }: {
    readonly keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]]
    readonly resilience: "checksum" | "journal"
  },
  deliver: () => Promise<void>,
): Promise<void> {
  const made = await makeEncryption(keeper, path, data, { volume, keyslots, resilience })
  await deliver()
  if (target === null) return displace(data, made, Number(volume.dataOffset))
  await withTarget(target, (device) =>
    writeVolume(device, made, { wipeOld: target.kind !== "new", progress: () => {} }),
  )
}

async function pending<T>(
  { keeper, path, data }: Place,
  header: string | undefined,
  work: (volume: Reencrypting) => Promise<T>,
): Promise<T> {
  const device = await openForHeader(header ?? path, { readOnly: false })
  try {
    const store = await HeaderStore.open(device)
    return await lockedForReencryption({ ...keeper, store, path, place: { store, data, path } }, work)
  } finally {
    await device.close()
  }
}
