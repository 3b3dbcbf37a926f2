/** A header enters reencryption: the enclave proves a passphrase, signs LUKS2's notes and authenticates where it is. */
import { Exit, TresorError } from "../base/errors.ts"
import type { Pass as PassRequest, Plain } from "../enclave/types.ts"
import type { VolumeKeeper } from "../keyslots/parts.ts"
import { explainUnlock } from "../keyslots/seal-status.ts"
import { encodeCopy } from "../luks2/binary-header.ts"
import { emitMetadata } from "../luks2/emit.ts"
import type { LuksHeader, LuksSegment } from "../luks2/metadata.ts"
import { movesDown, type Reencryption, reencryptionOf } from "../luks2/reencryption.ts"
import { begun, directionOf, type NewPass, roomForPass, withState } from "../luks2/reencryption-header.ts"
import { placed, startOf } from "../luks2/reencryption-position.ts"
import type { Header } from "../luks2/types.ts"
import type { Store } from "../store/store.ts"
import { type PassPlace, placesOf, resilienceOf, volumeSize } from "./run.ts"
import { probeAt, UNPROBED } from "./zones.ts"

export interface Entering extends Omit<NewPass, "slot" | "area" | "verification"> {
  /** With the keyslots and digests of every key, and nothing of a reencryption. */
  readonly header: LuksHeader
  /** Keyslots to prove, of each key there is. */
  readonly sides: Pick<PassRequest, "previous" | "final">
  /** Of what stays in its place. */
  readonly resilience: "checksum" | "journal"
}

export function unfit(path: string, fact: string): TresorError {
  return new TresorError("REENCRYPT_UNFIT", Exit.wrongDevice, `Cannot reencrypt ${path}: ${fact}`)
}

/** Plaintext, in bytes of the device. */
export const linear = (offset: bigint, size: bigint | null): LuksSegment => ({
  type: "linear",
  offset,
  size,
  ivTweak: 0n,
  encryption: "",
  sectorSize: 512,
  integrity: false,
  flags: [],
})

/** The same as the enclave takes it. */
export const plainOf = ({ offset, size }: LuksSegment): Plain => ({ plain: { offset, size } })

/** The area of plain datashift is never written. */
const UNUSED_AREA = 4096n

/** Refuses what could not be finished. Bytes of the volume. */
export function checkFits(
  path: string,
  { data, inUse }: { readonly data: Pick<Store, "size">; readonly inUse?: boolean },
  { previous, final, moved }: Pick<Reencryption, "previous" | "final" | "moved">,
): number {
  const [large, total] = [Math.max(previous.sectorSize, final.sectorSize), volumeSize(data, { previous, final, moved })]
  if (previous.ivTweak !== 0n) throw unfit(path, "its segment has an iv_tweak")
  if (total <= 0) throw unfit(path, "it ends before its data; it may be truncated")
  if (inUse === true && previous.sectorSize !== final.sectorSize) {
    throw unfit(path, "it is open, and those who use it know its sector size; close it to change that")
  }
  const bytes = previous.size === null ? data.size - Number(previous.offset) : total
  if (bytes % large !== 0) {
    throw unfit(path, `its ${bytes} bytes of data are not a multiple of the sector size ${large}`)
  }
  if (Number(final.offset) % large !== 0) {
    throw unfit(path, `its data begin at byte ${final.offset}, which is not a multiple of the sector size ${large}`)
  }
  return total
}

/** The header to be written; nothing is written here. Throws REENCRYPT_UNFIT, LUKS2_METADATA_FULL (exit 4), and as the enclave decides. */
export async function enterReencryption(
  { enclave, seal, path }: Omit<VolumeKeeper, "store">,
  { data, inUse = false }: Pick<PassPlace, "data" | "inUse">,
  entering: Entering,
  secret: Uint8Array,
): Promise<LuksHeader> {
  const { header, sides, moved, previous, final } = entering
  const total = checkFits(path, { data, inUse }, entering)
  const room = roomForPass(header)
  if (room === null) throw unfit(path, "its keyslots area or its 32 keyslots are full; remove a keyslot first")
  const block = Math.max(previous.sectorSize, final.sectorSize)
  const { resilience } = entering
  const down = movesDown(entering)
  const type: NewPass["area"]["type"] = down ? `datashift-${resilience}` : moved === null ? resilience : "datashift"
  const area = { type, offset: room.offset, size: type === "datashift" ? UNUSED_AREA : room.size, block }
  const direction = directionOf(entering)
  const position = Number(startOf({ ...entering, direction }, BigInt(total)))
  const probed = { data, total, ...placesOf({ ...entering, direction }) }
  const probe = inUse ? UNPROBED : await probeAt(probed, position)
  const request: PassRequest = {
    ...sides,
    moved: moved === null ? null : { offset: moved.offset, size: moved.size! },
    area: {
      resilience: resilienceOf(area),
      block: type.endsWith("checksum") ? block : 0,
      offset: area.offset,
      size: area.size,
    },
    progress: { position: BigInt(position), hot: 0n, probe },
    use: "convert",
    resumed: null,
  }
  const sealed = await seal({ purpose: "reencrypt", pass: request }, { existing: secret })
  const { handle, verification, mac } = await enclave.reencrypt(sealed, request).catch((error: unknown) => {
    throw explainUnlock(error, keyedSide(sides), enclave.identity, path)
  })
  // Its position is the header's: whoever goes on proves the passphrase for what was written.
  enclave.closeVolume(handle)
  const size = BigInt(total)
  const state = { mac, probe, size }
  const entered = withState(begun(header.metadata, { ...entering, slot: room.slot, area, verification }, size), state)
  // With a hot zone in the middle it is longest.
  const pending = reencryptionOf(entered)!
  const longest = placed(entered, pending, { position: (size + (moved?.size ?? 0n)) / 2n + 1n, hot: 1n }, size)
  await encodeCopy({ ...header, metadata: longest } as LuksHeader, emitMetadata(longest), "primary")
  return { ...header, metadata: entered }
}

/** The side whose keyslots an error is about. */
export const keyedSide = ({ previous, final }: Entering["sides"]): Header =>
  "plain" in previous ? (final as Header) : previous
