/**
 * A volume becomes plaintext in place, by its detached header: one header says so, and every keyslot goes with the one
 * that ends it. The passphrase is proved for this very request; an open volume alone begins nothing.
 */
import { Draft } from "../keyslots/draft.ts"
import type { Proof, VolumeKeeper } from "../keyslots/parts.ts"
import type { LuksHeader, LuksSegment } from "../luks2/metadata.ts"
import { digestOfData } from "../luks2/reencryption.ts"
import { roomForPass } from "../luks2/reencryption-header.ts"
import { enterReencryption, linear, plainOf, unfit } from "./enter.ts"
import { checkFront, fillFront } from "./fill-front.ts"
import { type PassPlace, volumeSize } from "./run.ts"
import { zoneRoom } from "./zones.ts"

type Resilience = "checksum" | "journal"

/** cryptsetup's: most that lies at the device's start until all else is plaintext. */
const MOVED_MAX = 20 << 20
const UNIT = 4096

/** Bytes that take the header's place: one zone, in place, is the last. Throws REENCRYPT_UNFIT. */
function movedSize(
  path: string,
  header: LuksHeader,
  data: PassPlace["data"],
  { previous, final }: { readonly previous: LuksSegment; readonly final: LuksSegment },
  resilience: Resilience,
): bigint {
  const total = volumeSize(data, { previous, final, moved: null })
  // Where there is none, that is what the header is refused for.
  const areaSize = Number(roomForPass(header)?.size ?? total)
  const most = Math.min(
    Number(previous.offset),
    MOVED_MAX,
    zoneRoom({ resilience, areaSize, block: previous.sectorSize }),
    total - UNIT,
  )
  if (most < UNIT) throw unfit(path, `its ${total} bytes of data are too few to move`)
  return BigInt(most - (most % UNIT))
}

/**
 * `detached`: the header has a file of its own. Throws REENCRYPT_UNFIT (exit 4), and as the enclave decides; nothing is
 * written then.
 */
export async function startDecryption(
  keeper: VolumeKeeper,
  place: PassPlace,
  proof: Proof,
  { resilience, detached }: { readonly resilience: Resilience; readonly detached: boolean },
): Promise<void> {
  const { store, path } = keeper
  const { data } = place
  if (!detached) {
    throw unfit(path, "its header is in front of its data; name a new file for the header with --header")
  }
  await store.update(async (header) => {
    const old = await Draft.read(store, header, path)
    const previous = header.metadata.segments.get(0)!
    const final = linear(0n, previous.size)
    const moves = previous.offset > 0n
    const size = moves ? movedSize(path, header, data, { previous, final }, resilience) : 0n
    const start = { offset: previous.offset, size }
    if (moves) await checkFront(place, header, start)
    const entering = {
      header,
      mode: "decrypt",
      previous,
      final,
      moved: moves ? { ...previous, offset: 0n, size } : null,
      oldDigest: digestOfData(header.metadata),
      newDigest: null,
      sides: { previous: old.tried(proof), final: plainOf(final) },
      resilience,
    } as const
    const entered = await enterReencryption(keeper, { data }, entering, proof.secret)
    if (moves) await fillFront(place, header, start)
    return { header: entered }
  })
}
