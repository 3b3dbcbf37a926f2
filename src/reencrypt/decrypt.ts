/**
 * A volume becomes plaintext in place, by its detached header: one header says so, and every keyslot goes with the one
 * that ends it. The passphrase is proved for this very request; an open volume alone begins nothing.
 */
import { Draft } from "../keyslots/draft.ts"
import type { Proof, VolumeKeeper } from "../keyslots/parts.ts"
import type { LuksSegment } from "../luks2/metadata.ts"
import { digestOfData } from "../luks2/reencryption.ts"
import { enterReencryption, plainOf, unfit } from "./enter.ts"
import type { PassPlace } from "./run.ts"

/** Throws REENCRYPT_UNFIT (exit 4), and as the enclave decides; nothing is written then. */
export async function startDecryption(
  keeper: VolumeKeeper,
  { data }: PassPlace,
  proof: Proof,
  resilience: "checksum" | "journal",
): Promise<void> {
  const { store, path } = keeper
  await store.update(async (header) => {
    const old = await Draft.read(store, header, path)
    const previous = header.metadata.segments.get(0)!
    if (previous.offset !== 0n) {
      throw unfit(
        path,
        "its header is in front of its data; only a volume with a detached header is decrypted in place",
      )
    }
    const { offset, size } = previous
    const final: LuksSegment = {
      type: "linear",
      offset,
      size,
      ivTweak: 0n,
      encryption: "",
      sectorSize: 512,
      integrity: false,
      flags: [],
    }
    const entering = {
      header,
      mode: "decrypt",
      previous,
      final,
      moved: null,
      oldDigest: digestOfData(header.metadata),
      newDigest: null,
      sides: { previous: old.tried(proof), final: plainOf(final) },
      resilience,
    } as const
    return { header: await enterReencryption(keeper, { data }, entering, proof.secret) }
  })
}
