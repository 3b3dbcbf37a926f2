/**
 * Plaintext becomes a volume in place: the enclave makes a volume key and its keyslots, and a header that says all data
 * are plaintext yet. With a detached header nothing of the data changes by that; src/reencrypt/displace.ts makes room
 * for one in front of them.
 */
import { type MadeVolume, makeVolume, type NewVolume } from "../keyslots/create.ts"
import { Draft } from "../keyslots/draft.ts"
import type { FreshKeyslot, Keeper } from "../keyslots/parts.ts"
import type { LuksSegment } from "../luks2/metadata.ts"
import { digestOfData } from "../luks2/reencryption.ts"
import type { Store } from "../store/store.ts"
import { checkFits, enterReencryption, linear, plainOf, unfit } from "./enter.ts"

export interface NewEncryption {
  readonly volume: NewVolume
  readonly keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]]
  /** Of a detached header; with a shift the data that were not written over yet are all there is to it. */
  readonly resilience: "checksum" | "journal"
}

/** The plaintext, and where its start goes to make room; `shift`: bytes before the data, 0n with a detached header. */
function plainSegments(
  { size }: Pick<Store, "size">,
  shift: bigint,
): { readonly previous: LuksSegment; readonly moved: LuksSegment | null } {
  if (shift === 0n) return { previous: linear(0n, null), moved: null }
  const end = BigInt(size)
  return { previous: linear(0n, end - 2n * shift), moved: linear(end - shift, shift) }
}

/**
 * What there will be, not made yet. Throws REENCRYPT_UNFIT (exit 4) for data that cannot be encrypted in place: too
 * small, or not whole sectors.
 */
export function checkEncryption(path: string, data: Pick<Store, "size">, volume: NewVolume): void {
  const shift = volume.detached ? 0n : volume.dataOffset!
  // The first zones need data of their own to move from.
  if (shift !== 0n && BigInt(data.size) <= 3n * shift) {
    throw unfit(path, `its ${data.size} bytes are too few: they must be more than 1.5 times --reduce-device-size`)
  }
  const { previous, moved } = plainSegments(data, shift)
  const final: LuksSegment = { ...previous, offset: shift, size: null, type: "crypt", sectorSize: volume.sectorSize }
  checkFits(path, { data }, { previous, final, moved })
}

/** Nothing is written yet. `data`: the plaintext. Throws as checkEncryption and enterReencryption do. */
export async function makeEncryption(
  keeper: Keeper,
  path: string,
  data: Store,
  { volume, keyslots, resilience }: NewEncryption,
): Promise<MadeVolume> {
  checkEncryption(path, data, volume)
  const made = await makeVolume(keeper, volume, keyslots, path)
  const { header, areas, slots } = made
  const material = new Map(
    slots.map((slot) => {
      const { offset } = header.metadata.keyslots.get(slot)!.area
      return [slot, areas.find((area) => area.offset === offset)!.bytes]
    }),
  )
  const final = header.metadata.segments.get(0)!
  const { previous, moved } = plainSegments(data, final.offset)
  const entering = {
    header,
    mode: "encrypt",
    previous,
    final,
    moved,
    oldDigest: null,
    newDigest: digestOfData(header.metadata),
    sides: {
      previous: plainOf(previous),
      final: new Draft(header, material, path).enclaveHeader((slot) => slot === slots[0]),
    },
    resilience,
  } as const
  return { ...made, header: await enterReencryption({ ...keeper, path }, { data }, entering, keyslots[0].secret) }
}
