/** A pass that is proved, from where its header says to the end. */
import { Exit, TresorError } from "../base/errors.ts"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import { overwrite } from "../header/bytes.ts"
import type { HeaderStore } from "../header/header-store.ts"
import { dropKeyslot } from "../keyslots/metadata-edit.ts"
import type { LuksHeader, Metadata } from "../luks2/metadata.ts"
import { isBackward, movesDown, type Reencryption, reencryptionOf } from "../luks2/reencryption.ts"
import { ended, withState } from "../luks2/reencryption-header.ts"
import { placeBefore, placed, positionOf } from "../luks2/reencryption-position.ts"
import type { Bulk } from "../store/past-cache.ts"
import type { Store } from "../store/store.ts"
import { convertZones, isEnd, type PassHeader, type Running, recoverZone, type Zones, zoneSize } from "./zones.ts"

export interface PassPlace {
  readonly store: HeaderStore
  readonly data: Store
  /** Another way to the same bytes, for zones; absent: `data` is the only one. */
  readonly bulk?: Bulk
  /** What people call it. */
  readonly path: string
  /** Users have it open: data may change at any time. */
  readonly inUse?: boolean
}

export interface RunOptions extends Running {
  /** Most bytes of a zone; twice that is the memory that is taken. */
  readonly hotZone: number
}

export interface Pass extends PassPlace {
  readonly enclave: Enclave
  readonly handle: VolumeHandle
  readonly reencryption: Reencryption
  /** Of the header that was proved: another one is another program's. */
  readonly sequenceId: bigint
  readonly total: number
}

/** Bytes of the volume on `data`, in whole sectors of either size; less than 0: it ends before them. */
export function volumeSize(
  data: Pick<Store, "size">,
  { previous, final, moved }: Pick<Reencryption, "previous" | "final" | "moved">,
): number {
  const room = data.size - Number(previous.offset)
  const size =
    previous.size === null ? room - (room % Math.max(previous.sectorSize, final.sectorSize)) : Number(previous.size)
  const ends = Math.max(size, Number(moved === null ? 0n : moved.offset + moved.size!))
  return ends <= room ? size : -1
}

/** Where the volume's bytes are, before and after. */
export function placesOf(
  reencryption: Pick<Reencryption, "mode" | "previous" | "final" | "moved" | "direction">,
): Pick<Zones, "before" | "after" | "moved" | "movedLast" | "shift" | "backward" | "sector"> {
  const { previous, final, moved } = reencryption
  return {
    before: (at) => Number(placeBefore(reencryption, BigInt(at))),
    after: (at) => Number(final.offset) + at,
    moved: Number(moved?.size ?? 0n),
    movedLast: movesDown(reencryption),
    shift: Math.abs(Number(final.offset - previous.offset)),
    backward: isBackward(reencryption),
    sector: Math.max(previous.sectorSize, final.sectorSize),
  }
}

export function changed(path: string): TresorError {
  return new TresorError(
    "REENCRYPT_CHANGED",
    Exit.busy,
    `Cannot go on with the reencryption of ${path}: another program changed its header meanwhile; ` +
      "`tresor reencrypt --resume` looks at it again",
  )
}

/** Writes each state where the header is still the one this pass wrote last. */
export class PassStore implements PassHeader {
  readonly #pass: Pass
  #sequenceId: bigint

  constructor(pass: Pass) {
    this.#pass = pass
    this.#sequenceId = pass.sequenceId
  }

  readArea(length: number, at: number): Promise<Uint8Array> {
    const { store, reencryption } = this.#pass
    return store.read(Number(reencryption.area.offset) + at, length)
  }

  async write(
    where: { readonly position: number; readonly hot: number },
    state: { readonly mac: Uint8Array; readonly probe: Uint8Array },
    area: Uint8Array | null,
  ): Promise<void> {
    const { reencryption, total } = this.#pass
    const position = { position: BigInt(where.position), hot: BigInt(where.hot) }
    await this.update(
      (metadata) =>
        withState(placed(metadata, reencryption, position, BigInt(total)), { ...state, size: BigInt(total) }),
      area === null ? [] : [{ offset: reencryption.area.offset, bytes: area }],
    )
  }

  async update(
    change: (metadata: Metadata) => Metadata,
    writeAreas: readonly { readonly offset: bigint; readonly bytes: Uint8Array }[],
    wipeAreas: readonly { readonly offset: bigint; readonly size: bigint }[] = [],
  ): Promise<void> {
    const { store, path } = this.#pass
    const made = async (header: LuksHeader) => {
      if (header.sequenceId !== this.#sequenceId) throw changed(path)
      return { header: { ...header, metadata: change(header.metadata) }, writeAreas, wipeAreas }
    }
    this.#sequenceId = (await store.update(made, { reencrypts: true })).sequenceId
  }
}

export const resilienceOf = ({ type }: Pick<Reencryption["area"], "type">): Zones["resilience"] =>
  type === "datashift" ? type : type.endsWith("journal") ? "journal" : "checksum"

/** What is converted, by the enclave. */
export function zonesOf(pass: Pass, header: PassHeader, hotZone: number): Zones {
  const { enclave, handle, data, bulk = data, total, reencryption } = pass
  const { area } = reencryption
  return {
    data: bulk,
    ...placesOf(reencryption),
    total,
    resilience: resilienceOf(area),
    block: area.sectorSize ?? 0,
    areaSize: Number(area.size),
    most: hotZone,
    header,
    converter: {
      zone: (hot, probe, last) => enclave.zone(handle, hot, probe, last),
      convert: (parts) =>
        enclave.convert(
          handle,
          parts.map(({ bytes, at }) => ({ input: bytes, output: bytes, sector: BigInt(at / 512) })),
        ),
    },
  }
}

/** Keyslots of the old key go, and with them all that speaks of a reencryption: one header, then their areas. */
export async function finish(
  header: PassStore,
  reencryption: Reencryption,
  { metadata }: LuksHeader,
): Promise<readonly number[]> {
  const named = reencryption.oldDigest === null ? [] : (metadata.digests.get(reencryption.oldDigest)?.keyslots ?? [])
  const old = named.toSorted((a, b) => a - b)
  const areas = [...old, reencryption.slot].flatMap((slot) => {
    const area = metadata.keyslots.get(slot)?.area
    return area === undefined ? [] : [{ offset: area.offset, size: area.size }]
  })
  await header.update((now) => ended(old.reduce(dropKeyslot, now), reencryption), [], areas)
  return old
}

/** Where a shift of the data leaves a copy of what is elsewhere by now. */
function leftBehind({ data, reencryption }: Pick<Pass, "data" | "reencryption">) {
  const { previous, final, moved } = reencryption
  if (!movesDown(reencryption)) return moved === null ? null : { offset: moved.offset, size: moved.size! }
  // Behind the plaintext; of a small volume, that is in part its old header.
  const size = previous.offset - final.offset
  return { offset: final.offset + BigInt(volumeSize(data, reencryption)), size }
}

async function wipe(pass: Pick<Pass, "data" | "reencryption">): Promise<void> {
  const area = leftBehind(pass)
  if (area === null) return
  await overwrite(pass.data, area)
  await pass.data.flush()
}

/**
 * One header ends it, and no copy of the data is left where they were: of a decryption this is wiped before that header,
 * which nobody repeats; an encryption has its last zone from there, as long as that may be recovered.
 */
async function end(
  pass: Pick<Pass, "data" | "reencryption">,
  header: PassStore,
  before: LuksHeader,
): Promise<readonly number[]> {
  const down = movesDown(pass.reencryption)
  if (down) await wipe(pass)
  const dropped = await finish(header, pass.reencryption, before)
  if (!down) await wipe(pass)
  return dropped
}

export interface Ended {
  readonly done: boolean
  /** Keyslots of the old key, which are gone. */
  readonly dropped: readonly number[]
}

/** Throws REENCRYPT_UNFIT (exit 4). */
export function checkZones(zones: Zones, path: string): void {
  if (zoneSize(zones) > 0) return
  throw new TresorError(
    "REENCRYPT_UNFIT",
    Exit.wrongDevice,
    `Cannot reencrypt ${path}: its area for resilience has ${zones.areaSize} bytes, too few for one zone`,
  )
}

/**
 * Recovers the zone that is hot, converts what is left, and ends it. `done` is false when it was to stop: the header lies
 * between two zones then. The handle stays the caller's.
 */
export async function runPass(pass: Pass, options: RunOptions): Promise<Ended> {
  const { store, reencryption, path, total } = pass
  const where = positionOf(store.header.metadata, reencryption, BigInt(total))
  if (typeof where === "string") throw new RangeError(where)
  const header = new PassStore(pass)
  const zones = zonesOf(pass, header, options.hotZone)
  checkZones(zones, path)
  let position = Number(where.position)
  if (where.hot > 0n) {
    position = await recoverZone(zones, position, Number(where.hot))
    await options.progress(position)
  }
  const whole = isEnd(zones, position) || (await convertZones(zones, position, options))
  if (!whole) return { done: false, dropped: [] }
  return { done: true, dropped: await end(pass, header, store.header) }
}

/**
 * Everything is under the new key already, and only the header does not say so: the end is all that is left. The caller
 * has proved the new key.
 */
export async function endPass(place: PassPlace, reencryption: Reencryption): Promise<readonly number[]> {
  const { store } = place
  const { header } = store
  const pass = { ...place, reencryption, sequenceId: header.sequenceId } as Pass
  return end(pass, new PassStore(pass), header)
}

/** The reencryption a header is in. Throws REENCRYPT_NONE (exit 1). */
export function pendingIn({ metadata }: LuksHeader, path: string): Reencryption {
  const found = reencryptionOf(metadata)
  if (found !== null) return found
  throw nonePending(path)
}

export function nonePending(what: string): TresorError {
  return new TresorError(
    "REENCRYPT_NONE",
    Exit.badArguments,
    `Cannot resume ${what}: no reencryption is pending; leave --resume out to begin one`,
  )
}
