/**
 * A header on its device: read, repaired, changed. Every change is crash-safe
 * by LUKS2's own rules: at each moment one valid copy says either the old or
 * the new state, and what it refers to is on stable storage.
 */
import { Exit, TresorError } from "../base/errors.ts"
import { type Copy, encodeCopy } from "../luks2/binary-header.ts"
import { emitMetadata } from "../luks2/emit.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { parseMetadata } from "../luks2/parse.ts"
import { checkTampering } from "../luks2/tampering.ts"
import { unmet } from "../luks2/volume-header.ts"
import { signatureOn } from "../store/signature.ts"
import type { Store } from "../store/store.ts"
import { overwrite, readBytes } from "./bytes.ts"
import { type FoundCopies, readCopies, type ValidCopy } from "./copies.ts"

export interface AreaWrite {
  readonly offset: bigint
  readonly bytes: Uint8Array
}

export interface HeaderChange {
  readonly header: LuksHeader
  /** Written and synced before the header refers to them. */
  readonly writeAreas?: readonly AreaWrite[]
  /** Overwritten once the header that no longer refers to them is on stable storage. */
  readonly wipeAreas?: readonly { readonly offset: bigint; readonly size: bigint }[]
}

export interface UpdateOptions {
  /** Every keyslot goes: nothing in the header can be worth keeping it. */
  readonly destroys?: boolean
  /** `change` asks for no passphrase. */
  readonly unproved?: boolean
  /** `change` goes on with the reencryption that the header requires. */
  readonly reencrypts?: boolean
}

export class HeaderStore {
  readonly #device: Store
  #header: LuksHeader
  /** Both copies as they were last read or written. */
  #known: FoundCopies | null = null

  /** Copies that were broken or old when the header was opened. */
  readonly stale: readonly Copy[]

  private constructor(device: Store, header: LuksHeader, stale: readonly Copy[] = []) {
    this.#device = device
    this.#header = header
    this.stale = stale
  }

  /**
   * Reads both copies and writes nothing: a copy that is broken may be what
   * another program has put there. Throws LUKS2_AMBIGUOUS (exit 4) when it is.
   */
  static async open(device: Store): Promise<HeaderStore> {
    const found = await device.locked("shared", () => readCopies(device))
    if (found.stale.length > 0) await checkUnambiguous(device, found.stale)
    return new HeaderStore(device, found.header, found.stale)
  }

  /** Writes a header where none is to be kept; areas first. */
  static async format(device: Store, header: LuksHeader, areas: readonly AreaWrite[]): Promise<HeaderStore> {
    const store = new HeaderStore(device, header)
    await device.locked("exclusive", async () => {
      await store.#writeAreas(areas)
      await store.#writeHeader(header, emitMetadata(header.metadata))
    })
    return store
  }

  get header(): LuksHeader {
    return this.#header
  }

  async reload(): Promise<LuksHeader> {
    const found = await this.#device.locked("shared", () => readCopies(this.#device))
    this.#header = found.header
    return found.header
  }

  /**
   * Rewrites stale copies from the very header that was agreed to; which ones
   * were. Only `check --repair` does, after it has asked.
   */
  async repair(): Promise<readonly Copy[]> {
    return this.#device.locked("exclusive", async () => {
      const found: FoundCopies = await readCopies(this.#device)
      await checkUnambiguous(this.#device, found.stale)
      if (found.header.sequenceId !== this.#header.sequenceId) throw changedMeanwhile(this.#device.path, "repair")
      // The older copy may be the last that is as the owner wrote it.
      checkTampering(found.header.metadata, `repair the header of ${this.#device.path}`)
      await this.#rewrite(found)
      return found.stale
    })
  }

  /** Throws LUKS2_TRUNCATED: a copy that was cut off is not a broken one, and writing it would make the device longer. */
  async #rewrite({ header, json, stale }: FoundCopies): Promise<void> {
    const { path, size } = this.#device
    if (stale.length > 0 && 2 * header.headerSize > size) throw truncated(path, size)
    for (const copy of stale) await this.#writeCopy(await encode(header, json, copy))
  }

  /** Key material of a keyslot as on disk, bytes: keySize * stripes rounded up to 512. */
  async readArea(slot: number): Promise<Uint8Array> {
    const keyslot = this.#header.metadata.keyslots.get(slot)
    if (keyslot === undefined || "foreign" in keyslot) throw new RangeError(`keyslot ${slot} holds no key material`)
    const length = Math.ceil((keyslot.keySize * keyslot.af.stripes) / 512) * 512
    return readBytes(this.#device, Number(keyslot.area.offset), Math.min(length, Number(keyslot.area.size)))
  }

  /** Bytes of the header's device. */
  read(offset: number, length: number): Promise<Uint8Array> {
    return readBytes(this.#device, offset, length)
  }

  /**
   * Changes the header as it is now. `change` may take its time (a KDF): the
   * lock is held, so that nobody else's change is lost.
   */
  async update(
    change: (header: LuksHeader) => Promise<HeaderChange>,
    { destroys = false, unproved = false, reencrypts = false }: UpdateOptions = {},
  ): Promise<LuksHeader> {
    return this.#device.locked("exclusive", async () => {
      const found = await readCopies(this.#device, this.#known)
      this.#known = found
      this.#header = found.header
      await checkUnambiguous(this.#device, found.stale)
      // Both copies are written: without proof, this would be the repair that has to be asked for.
      if (unproved && found.stale.length > 0) throw broken(this.#device.path, found.stale)
      if (!destroys) {
        checkTampering(found.header.metadata, `change the header of ${this.#device.path}`)
        if (!reencrypts && found.header.metadata.config.requirements.length > 0) throw unmet(found.header)
      }
      const { header, writeAreas = [], wipeAreas = [] } = await change(found.header)
      const next: LuksHeader = { ...header, sequenceId: found.header.sequenceId + 1n }
      // What could not be read back must not be written.
      const json = emitMetadata(next.metadata)
      const metadata = parseMetadata(json, next.headerSize)
      // A later cut may fall back to a copy that an earlier one left old: nothing it refers to is written before.
      if (!destroys) await this.#rewrite(found)
      await this.#writeAreas(writeAreas)
      const [primary, secondary] = await this.#writeHeader({ ...next, metadata }, json)
      this.#known = { primary, secondary, header: primary.header, json, stale: [] }
      this.#header = next
      await this.#wipeAreas(wipeAreas)
      return next
    })
  }

  async #writeAreas(areas: readonly AreaWrite[]): Promise<void> {
    if (areas.length === 0) return
    for (const { offset, bytes } of areas) await this.#device.write(Number(offset), bytes)
    await this.#device.flush()
  }

  async #writeHeader(header: LuksHeader, json: string): Promise<readonly [ValidCopy, ValidCopy]> {
    const encoded = await Promise.all([encode(header, json, "primary"), encode(header, json, "secondary")])
    for (const copy of encoded) await this.#writeCopy(copy)
    return encoded
  }

  async #writeCopy({ offset, bytes }: ValidCopy): Promise<void> {
    await this.#device.write(offset, bytes)
    await this.#device.flush()
  }

  async #wipeAreas(areas: NonNullable<HeaderChange["wipeAreas"]>): Promise<void> {
    if (areas.length === 0) return
    for (const area of areas) await overwrite(this.#device, area)
    await this.#device.flush()
  }
}

async function encode(header: LuksHeader, json: string, copy: Copy): Promise<ValidCopy> {
  const bytes = await encodeCopy(header, json, copy)
  return { copy, offset: copy === "primary" ? 0 : header.headerSize, header, json, bytes }
}

const NAMES: Readonly<Record<Copy, string>> = { primary: "first", secondary: "second" }

/** "first header", "first and second header". */
const nameCopies = (copies: readonly Copy[]): string => `${copies.map((copy) => NAMES[copy]).join(" and ")} header`

/** What a header says when a copy is broken: one clause and the way out. */
export const brokenWords = (path: string, stale: readonly Copy[]): string =>
  `the ${nameCopies(stale)} is broken or old; \`tresor check --repair ${path}\` rewrites it`

function broken(path: string, stale: readonly Copy[]): TresorError {
  return new TresorError(
    "LUKS2_COPY_BROKEN",
    Exit.wrongDevice,
    `Cannot change the header of ${path}: ${brokenWords(path, stale)}`,
  )
}

export function changedMeanwhile(path: string, doing: "repair" | "restore"): TresorError {
  return new TresorError(
    "LUKS2_CHANGED",
    Exit.busy,
    `Cannot ${doing} the header of ${path}: another program changed it meanwhile; look at it again`,
  )
}

/** Throws LUKS2_AMBIGUOUS (exit 4) when a copy is broken and another format is found where it was, or anywhere. */
async function checkUnambiguous(device: Store, stale: readonly Copy[]): Promise<void> {
  if (stale.length === 0) return
  const other = await signatureOn(device, { luks: false })
  if (other === null) return
  throw new TresorError(
    "LUKS2_AMBIGUOUS",
    Exit.wrongDevice,
    `Cannot use ${device.path} as LUKS2: its ${nameCopies(stale)} is broken and it holds ${other} (ambiguous signatures); ` +
      "if it is LUKS2 nevertheless, remove the other signature with `wipefs` first",
  )
}

function truncated(path: string, size: number): TresorError {
  return new TresorError(
    "LUKS2_TRUNCATED",
    Exit.wrongDevice,
    `Cannot use the header of ${path}: it ends after ${size} bytes, within the header; it was truncated`,
  )
}
