/** A header's backup, in cryptsetup's file format: both copies and every keyslot, byte for byte. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { toHex } from "../base/hex.ts"
import { IoError } from "../base/io-error.ts"
import { syncDirectory } from "../base/replace-file.ts"
import { encodeCopy } from "../luks2/binary-header.ts"
import type { LuksHeader, Metadata } from "../luks2/metadata.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { checkTampering } from "../luks2/tampering.ts"
import type { Store } from "../store/store.ts"
import { readBytes } from "./bytes.ts"
import { type FoundCopies, readCopies } from "./copies.ts"
import { changedMeanwhile } from "./header-store.ts"
import { openFile, openForHeader } from "./open.ts"

const CHUNK = 1 << 20

/** Both copies and every keyslot: what a backup holds. */
function wholeSize({ headerSize, metadata }: LuksHeader): number {
  return 2 * headerSize + Number(metadata.config.keyslotsSize)
}

/** Where a header area is read from. */
type Area = (offset: number, length: number) => Promise<Uint8Array>

/**
 * The header area as it should be: where a copy is broken or old, both are made
 * anew of the one that counts, and only the keyslots are read.
 */
async function soundArea(device: Store, { header, json, stale }: FoundCopies): Promise<Area> {
  const onDevice: Area = (offset, length) => readBytes(device, offset, length)
  if (stale.length === 0) return onDevice
  const copies = new Uint8Array(2 * header.headerSize)
  copies.set(await encodeCopy(header, json, "primary"))
  copies.set(await encodeCopy(header, json, "secondary"), header.headerSize)
  return async (offset, length) => {
    if (offset >= copies.length) return onDevice(offset, length)
    const bytes = new Uint8Array(length)
    const made = copies.subarray(offset, offset + length)
    bytes.set(made)
    if (made.length < length) bytes.set(await onDevice(copies.length, length - made.length), made.length)
    return bytes
  }
}

/** Calls `take` with the header area in pieces. */
async function eachPiece(
  area: Area,
  size: number,
  take: (offset: number, bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  for (let offset = 0; offset < size; offset += CHUNK) {
    await take(offset, await area(offset, Math.min(CHUNK, size - offset)))
  }
}

/** Copies a header area to a new file that only its owner reads; the file is on stable storage, or is not there. */
async function saveArea(area: Area, size: number, file: string, mode = 0o400): Promise<void> {
  const fd = openSync(file, "wx", mode)
  try {
    await eachPiece(area, size, (_, bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    })
    fsyncSync(fd)
    syncDirectory(file)
  } catch (error) {
    rmSync(file, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
}

/**
 * Copies the header on `path` to the new file `file`, mode 0400 unless it is to be used. Where a copy is broken or old, both are made
 * anew of the one that counts. Throws BACKUP_EXISTS (exit 5), and as openForHeader and readCopies. Returns the metadata saved.
 */
export async function backupHeader(path: string, file: string, mode?: number): Promise<Metadata> {
  if (existsSync(file)) {
    throw new TresorError("BACKUP_EXISTS", Exit.busy, `Cannot write the backup ${file}: it exists; name a new file`)
  }
  const device = await openForHeader(path, { readOnly: true })
  try {
    return await device.locked("shared", async () => {
      const found = await readCopies(device)
      await saveArea(await soundArea(device, found), wholeSize(found.header), file, mode)
      return found.header.metadata
    })
  } finally {
    await device.close()
  }
}

export interface RestoreOptions {
  /** Although it is another volume's, its data begin elsewhere, or it was tampered with. */
  readonly force: boolean
  /** The header is detached. */
  readonly detached: boolean
  /** Directory for the old header while the new one is written; it stays there when that fails. */
  readonly putAside: string
  /** Called when all was checked and nothing is written; rejects to leave it so. `replaces`: a LUKS2 header is there. */
  readonly agree?: (what: { readonly replaces: boolean }) => Promise<void>
  /** 0 to 1. */
  readonly progress?: (fraction: number) => void
}

/** What is on the device now; `null` when it holds no LUKS2 header that can be read. */
async function present(device: Store): Promise<FoundCopies | null> {
  try {
    return await readCopies(device)
  } catch (error) {
    if (error instanceof TresorError) return null
    throw error
  }
}

const isSame = (a: FoundCopies | null, b: FoundCopies | null): boolean =>
  a?.json === b?.json && a?.header.sequenceId === b?.header.sequenceId

function refuse(code: ErrorCode, path: string, fact: string): TresorError {
  return new TresorError(code, Exit.wrongDevice, `Cannot restore the header of ${path}: ${fact}`)
}

const dataOffset = ({ metadata }: LuksHeader) => metadata.segments.get(0)?.offset

/** The old header's bytes in `directory` while the new one is written; returns the file's path. */
async function putAside(device: Store, size: number, { uuid, directory }: Restored): Promise<string> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // The UUID is text of whoever made the backup: a slash would lead out of the directory.
  const file = join(directory, `header-${uuid.replace(/[^0-9A-Za-z-]/g, "_")}-${Date.now()}`)
  await saveArea((offset, length) => readBytes(device, offset, length), Math.min(size, device.size), file)
  return file
}

/** After a reencryption, or in the middle of one, the header of another time opens data that it destroys. */
function checkSameKey(path: string, file: string, old: LuksHeader, header: LuksHeader): void {
  const pending = [old, header].find(({ metadata }) => reencryptionOf(metadata) !== null)
  if (pending !== undefined) {
    const which = pending === old ? "of it" : `in ${file}`
    throw refuse(
      "REENCRYPT_PENDING",
      path,
      `a reencryption ${which} is pending, and only its latest header fits the data; use --force to restore it anyway`,
    )
  }
  const digest = ({ metadata }: LuksHeader) =>
    [...metadata.digests.values()].find(({ segments }) => segments.includes(0))?.digest ?? new Uint8Array(0)
  if (toHex(digest(old)) === toHex(digest(header))) return
  throw refuse(
    "VOLUME_KEY_DIFFERS",
    path,
    `its data are under another volume key than the one in ${file}, as after a reencryption; use --force to restore it anyway`,
  )
}

/**
 * Writes the header saved in `file` to `path`. Throws, exit 4: BACKUP_DAMAGED, UUID_DIFFERS, OFFSET_DIFFERS,
 * VOLUME_KEY_DIFFERS, REENCRYPT_PENDING, HEADER_DETACHED, DEVICE_TOO_SMALL, LUKS2_TAMPERED, RESTORE_FAILED; LUKS2_CHANGED
 * (exit 5): another program changed the header while `agree` was asked; and as openForHeader.
 */
export async function restoreHeader(path: string, file: string, options: RestoreOptions): Promise<void> {
  const source = await openFile(file, { readOnly: true })
  const device = await openForHeader(path, { readOnly: false, exclusive: true }).catch(async (error: unknown) => {
    await source.close()
    throw error
  })
  try {
    const backup = await readCopies(source)
    const { header } = backup
    const size = wholeSize(header)
    if (source.size < size) {
      throw refuse("BACKUP_DAMAGED", path, `${file} is truncated; use another backup`)
    }
    if (!options.force) checkTampering(header.metadata, `restore the header in ${file}`)
    const old = await present(device)
    if (old !== null) {
      if (old.header.uuid !== header.uuid && !options.force) {
        throw refuse(
          "UUID_DIFFERS",
          path,
          `it has the UUID ${old.header.uuid} and ${file} ${header.uuid}; use --force to restore it anyway`,
        )
      }
      if (dataOffset(old.header) !== dataOffset(header) && !options.force) {
        throw refuse(
          "OFFSET_DIFFERS",
          path,
          `data begin at ${dataOffset(old.header)} now and at ${dataOffset(header)} with ${file}; ` +
            "use --force to restore it anyway",
        )
      }
      if (!options.force) checkSameKey(path, file, old.header, header)
    }
    // With a detached header, the beginning of the data device is data.
    const begin = dataOffset(header)
    if (old === null && !options.detached && begin !== undefined && begin < size) {
      throw refuse(
        "HEADER_DETACHED",
        path,
        `data of ${header.uuid} begin at ${begin}, where its header would overwrite them; ` +
          "name the file of the detached header with --header",
      )
    }
    const room = device.size
    if (room < size) {
      throw refuse("DEVICE_TOO_SMALL", path, `it ends after ${room} bytes, the header in ${file} takes ${size}`)
    }
    await options.agree?.({ replaces: old !== null })
    const area = await soundArea(source, backup)
    const leftover = old === null ? 0 : remains(old.header, header)
    await device.locked("exclusive", async () => {
      // What was checked and agreed to is what is replaced: a reencryption may have begun meanwhile.
      if (!isSame(await present(device), old)) throw changedMeanwhile(path, "restore")
      await writeArea(area, device, {
        size,
        leftover,
        uuid: header.uuid,
        directory: options.putAside,
        progress: options.progress ?? (() => {}),
      })
    })
  } finally {
    await device.close()
    await source.close()
  }
}

/**
 * End of what is left of a larger header area: a second copy, keyslots that
 * were to be gone. Never past the beginning of the data.
 */
function remains(old: LuksHeader, header: LuksHeader): number {
  const begin = Number(dataOffset(header) ?? 0n)
  return begin === 0 ? wholeSize(old) : Math.min(wholeSize(old), begin)
}

interface Restored {
  readonly size: number
  readonly leftover: number
  readonly uuid: string
  readonly directory: string
  readonly progress: (fraction: number) => void
}

async function writeArea(area: Area, device: Store, restored: Restored): Promise<void> {
  const { size, leftover, progress } = restored
  const aside = await putAside(device, Math.max(size, leftover), restored)
  try {
    await eachPiece(area, size, async (offset, bytes) => {
      await device.write(offset, bytes)
      progress((offset + bytes.length) / size)
    })
    const zeros = new Uint8Array(CHUNK)
    for (let at = size; at < leftover; at += CHUNK)
      await device.write(at, zeros.subarray(0, Math.min(CHUNK, leftover - at)))
    await device.flush()
    await readCopies(device)
  } catch (cause) {
    const { message } = cause as Error
    const fact = cause instanceof IoError ? `${message} (${cause.code})` : message
    throw new TresorError(
      "RESTORE_FAILED",
      Exit.wrongDevice,
      `Cannot restore the header of ${device.path}: ${fact}; the previous contents are in ${aside}`,
      { cause },
    )
  }
  rmSync(aside)
}
