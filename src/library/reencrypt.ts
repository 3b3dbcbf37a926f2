/** A new volume key for a volume that is not open: what is checked and held before its first byte is written. */
import { existsSync, rmSync, statSync } from "node:fs"
import { statfs } from "node:fs/promises"
import { totalmem } from "node:os"
import { setTimeout as delay } from "node:timers/promises"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import { formatSize } from "../base/size.ts"
import { checkNotOpen } from "../control/in-use.ts"
import { checkApart } from "../header/apart.ts"
import { backupHeader } from "../header/backup.ts"
import { HeaderStore } from "../header/header-store.ts"
import { openForHeader } from "../header/open.ts"
import type { FreshKeyslot, Proof, VolumeKeeper } from "../keyslots/parts.ts"
import { slotStrengths } from "../keyslots/strength.ts"
import { keyslotsArea } from "../luks2/areas.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { movesDown, reencryptionOf } from "../luks2/reencryption.ts"
import { converted, positionOf } from "../luks2/reencryption-position.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { startDecryption as startPlain } from "../reencrypt/decrypt.ts"
import { unfit } from "../reencrypt/enter.ts"
import { resumePass } from "../reencrypt/resume.ts"
import { type Ended, type PassPlace, volumeSize } from "../reencrypt/run.ts"
import { type NewKey, startPass } from "../reencrypt/start.ts"
import { FileStore } from "../store/file-store.ts"
import { lockReencryption } from "../store/header-lock.ts"
import { openError } from "../store/open-error.ts"
import { withPastCache } from "../store/past-cache.ts"
import { type Audience, type EnclaveChoice, type HeaderPlace, withKeeper } from "./keeper.ts"

export type { NewKey }

/** Bytes of a zone when nothing else is asked for; twice that is the memory it takes. */
export const HOT_ZONE = 64 << 20

/** The same while the volume is open: requests on a zone wait until it is converted. */
export const OPEN_HOT_ZONE = 8 << 20

function refuseExport(path: string): void {
  if (isNbdUri(path)) throw unfit(path, "it is an NBD export; reencrypt it where its file or device is")
}

/** The data of a volume, or what is to be one, which nobody else has meanwhile. Throws STORE_BUSY, REENCRYPT_UNFIT. */
export async function openToReencrypt(path: string): Promise<FileStore> {
  const data = await openData(path)
  try {
    await checkSpace(path)
    return data
  } catch (error) {
    await data.close()
    throw error
  }
}

async function openData(path: string): Promise<FileStore> {
  refuseExport(path)
  try {
    return await FileStore.open(path, { claim: "all" })
  } catch (error) {
    if (error instanceof TresorError) throw error
    throw openError(path, false, error as NodeJS.ErrnoException, { readonlyHelps: false })
  }
}

/** A file with holes is filled as it is encrypted anew: what has no place to go must not begin. Throws REENCRYPT_UNFIT. */
async function checkSpace(path: string): Promise<void> {
  const stat = statSync(path)
  if (!stat.isFile()) return
  const missing = stat.size - stat.blocks * 512
  if (missing <= 0) return
  const { blocks, bavail, bsize } = await statfs(path)
  // A filesystem that does not say how large it is, as some of FUSE's, knows neither its files' blocks nor its room.
  if (blocks === 0 || missing <= bavail * bsize) return
  throw unfit(
    path,
    `the file has holes, which reencryption fills: ${formatSize(missing)} more, and its filesystem has ${formatSize(bavail * bsize)}; make room first`,
  )
}

export interface Reencrypting extends VolumeKeeper {
  readonly place: PassPlace
}

/**
 * The volume at `place`, which nobody else has meanwhile. Throws VOLUME_IN_USE, STORE_BUSY, REENCRYPT_BUSY (exit 5),
 * STORE_DENIED, HEADER_IN_DATA, REENCRYPT_UNFIT, and as withKeeper.
 */
export async function withReencryption<T>(
  place: HeaderPlace,
  choice: EnclaveChoice,
  audience: Audience,
  work: (volume: Reencrypting) => Promise<T>,
): Promise<T> {
  const { path } = place
  checkNotOpen(path, "reencrypt")
  const data = await openToReencrypt(path)
  try {
    return await withKeeper(place, choice, audience, async (keeper) => {
      const { header } = keeper.store
      const segment = reencryptionOf(header.metadata)?.final ?? header.metadata.segments.get(0)
      // A detached header alone would be encrypted as data.
      if (segment !== undefined) checkApart({ path, header: place.header ?? null }, segment, keyslotsArea(header).end)
      return lockedForReencryption({ ...keeper, place: { store: keeper.store, data, path } }, work)
    })
  } finally {
    await data.close()
  }
}

/** Under cryptsetup's lock of a reencryption. Throws REENCRYPT_BUSY (exit 5). */
export async function lockedForReencryption<T>(
  volume: Reencrypting,
  work: (volume: Reencrypting) => Promise<T>,
): Promise<T> {
  const unlock = await lockReencryption(volume.store.header.uuid, volume.path)
  try {
    return await work(volume)
  } finally {
    await unlock()
  }
}

/**
 * The same of a volume that a tresord has: its header is changed here, its data are converted there. Throws
 * REENCRYPT_BUSY (exit 5), REENCRYPT_UNFIT, and as withKeeper.
 */
export async function withOpenReencryption<T>(
  place: HeaderPlace,
  choice: EnclaveChoice,
  audience: Audience,
  work: (volume: Reencrypting) => Promise<T>,
): Promise<T> {
  const { path } = place
  refuseExport(path)
  await checkSpace(path)
  const data = await openForHeader(path, { readOnly: true })
  try {
    return await withKeeper(place, choice, audience, async (keeper) => {
      return work({ ...keeper, place: { store: keeper.store, data, path, inUse: true } })
    })
  } finally {
    await data.close()
  }
}

/** Whether a reencryption is pending in a header. */
export const isPending = ({ metadata }: LuksHeader): boolean => reencryptionOf(metadata) !== null

/** For a passphrase that is carried over, the same kind of keyslot as it had. `make`: one that is portable, or sealed to the enclave. */
export async function keptKeyslot(
  { store }: Reencrypting,
  { secret, slot }: { readonly secret: Uint8Array; readonly slot: number },
  make: (portable: boolean) => Promise<FreshKeyslot>,
): Promise<FreshKeyslot> {
  const kind = slotStrengths(store.header.metadata).find((each) => each.slot === slot)?.kind
  return kind === "recovery" ? { type: "recovery", secret, slot: null } : make(kind === "portable")
}

/** Begins with a new key; nothing is converted yet. `secret` stays the caller's. */
export async function startReencryption(
  volume: Reencrypting,
  proof: { readonly secret: Uint8Array; readonly slot: number },
  key: NewKey,
  beforeWriting: () => Promise<void>,
): Promise<void> {
  const start = () => startPass(volume, volume.place, proof, key, beforeWriting)
  if (volume.place.inUse !== true) return start()
  // The tresord of the volume takes it for what follows.
  await lockedForReencryption(volume, start)
}

/**
 * Begins to make the volume plaintext; nothing is converted yet. `detached`: its header has a file of its own. Throws
 * REENCRYPT_UNFIT (exit 4). `secret` stays the caller's.
 */
export function startDecryption(
  volume: Reencrypting,
  proof: Proof,
  options: { readonly resilience: "checksum" | "journal"; readonly detached: boolean },
): Promise<void> {
  return startPlain(volume, volume.place, proof, options)
}

/** Whether both copies of a LUKS2 header are in front of the data, and sound. */
async function hasHeader(path: string): Promise<boolean> {
  const device = await openForHeader(path, { readOnly: true })
  try {
    return (await HeaderStore.open(device)).stale.length === 0
  } catch (error) {
    if (error instanceof TresorError) return false
    throw error
  } finally {
    await device.close()
  }
}

/**
 * Does `work` with the header in front of the data at `path` copied to the file `header`, unless there is such a file. Where
 * that fails before anything of `path` was written, the file is not left.
 */
export async function withHeaderApart<T>(
  { path, header }: { readonly path: string; readonly header: string },
  work: () => Promise<T>,
): Promise<T> {
  if (existsSync(header) || isNbdUri(path) || !(await hasHeader(path))) return work()
  await backupHeader(path, header, 0o600)
  try {
    return await work()
  } catch (error) {
    if (await hasHeader(path)) rmSync(header)
    throw error
  }
}

/** Where a pending decryption moves the data down over their header: bytes of plaintext, and of what is wiped behind it. */
export function movedDown({ store, place }: Reencrypting): { readonly size: number; readonly behind: number } | null {
  const pending = reencryptionOf(store.header.metadata)
  if (pending === null || !movesDown(pending)) return null
  return { size: volumeSize(place.data, pending), behind: Number(pending.previous.offset) }
}

export interface RunWords {
  readonly secret: Uint8Array
  readonly vouched: boolean
  readonly hotZone: number
  /** Bytes in a second at most; 0: as fast as it goes. */
  readonly throttle: number
  readonly stop: () => boolean
  /** Bytes that are converted, of all there are. */
  readonly progress: (done: number, total: number) => void
}

/** How far the pass that `volume` is in has come: bytes that are converted, of all. */
export function progressOf({ store, place }: Reencrypting): { readonly done: number; readonly total: number } {
  const { metadata } = store.header
  const pending = reencryptionOf(metadata)
  if (pending === null) return { done: 0, total: 0 }
  const total = Math.max(0, volumeSize(place.data, pending))
  const where = positionOf(metadata, pending, BigInt(total))
  if (typeof where === "string") return { done: 0, total }
  return { done: where.done ? total : Number(converted(pending, where, BigInt(total))), total }
}

/** What a pending pass does: "reencrypt", or with plaintext on one side "encrypt" and "decrypt"; `null`: none is pending. */
export const pendingMode = ({ metadata }: LuksHeader): string | null => reencryptionOf(metadata)?.mode ?? null

/** Goes on to the end, or until it is to stop. Throws REENCRYPT_STOPPED (exit 4) for I/O errors: it can go on later. */
export async function runReencryption(volume: Reencrypting, options: RunWords): Promise<Ended> {
  const { throttle, progress: tell } = options
  const { done: first, total } = progressOf(volume)
  const began = performance.now()
  const pass = reencryptionOf(volume.store.header.metadata)
  const progress = async (position: number) => {
    const done =
      pass === null ? position : Number(converted(pass, { position: BigInt(position), hot: 0n }, BigInt(total)))
    tell(done, total)
    if (throttle === 0) return
    const due = ((done - first) / throttle) * 1000 - (performance.now() - began)
    if (due > 0) await delay(due)
  }
  // cryptsetup's bound, and each zone takes twice its size.
  const hotZone = Math.min(options.hotZone, Math.floor(totalmem() / 8))
  try {
    return await withPastCache(volume.place.data, (past) => {
      const place = past === null ? volume.place : { ...volume.place, bulk: past }
      return resumePass(volume, place, { ...options, hotZone, progress })
    })
  } catch (error) {
    if (!(error instanceof IoError)) throw error
    throw new TresorError(
      "REENCRYPT_STOPPED",
      Exit.wrongDevice,
      `The reencryption of ${volume.path} stopped: ${error.message}; nothing is lost, and when the device works again ` +
        "`tresor reencrypt --resume` goes on",
      { cause: error },
    )
  }
}
