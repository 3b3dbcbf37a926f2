/**
 * A reencryption begins: the enclave makes a new volume key with a keyslot for each passphrase that is carried over, and
 * one header brings all of that and LUKS2's own notes of a reencryption. Until then nothing of the volume has changed.
 */
import type { AreaWrite, HeaderChange } from "../header/header-store.ts"
import { makeKey } from "../keyslots/create.ts"
import { Draft } from "../keyslots/draft.ts"
import { addToken } from "../keyslots/metadata-edit.ts"
import type { FreshKeyslot, Proof, VolumeKeeper } from "../keyslots/parts.ts"
import { areaSize, findGap, freeSlot } from "../luks2/areas.ts"
import type { ForeignKeyslot, LuksHeader, LuksKeyslot, LuksSegment, Metadata } from "../luks2/metadata.ts"
import { digestOfData, taken } from "../luks2/reencryption.ts"
import { freeDigest } from "../luks2/reencryption-header.ts"
import type { Header, Segment } from "../luks2/types.ts"
import { checkFits, enterReencryption } from "./enter.ts"
import type { PassPlace } from "./run.ts"

export interface NewKey {
  /** Of the passphrase that proves, and of every other that is to open the volume afterwards. */
  readonly keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]]
  /**
   * Those of them that open the old key in no keyslot yet and are to do so until the end: a passphrase that shall resume
   * this, here or in cryptsetup, must open both keys.
   */
  readonly alsoOld?: readonly FreshKeyslot[]
  readonly resilience: "checksum" | "journal"
  /** `null`: as it is. */
  readonly sectorSize: Segment["sectorSize"] | null
  readonly keySize: Segment["keySize"] | null
}

/** Keyslots, digest and tokens of the new key, as a header of their own in which all of the old stays taken. */
async function makeNewKey(
  keeper: VolumeKeeper,
  header: LuksHeader,
  segment: Segment,
  final: LuksSegment,
  [first, ...others]: NewKey["keyslots"],
): Promise<{ readonly draft: Draft; readonly slot: number; readonly area: AreaWrite }> {
  const { metadata, uuid } = header
  const slot = freeSlot(metadata, first.slot)
  const offset = findGap(header, areaSize(segment.keySize))
  const { digest, keyslot, token, area } = await makeKey(keeper, { uuid, segment }, first, slot, offset)
  const old = [...metadata.keyslots].map(([number, { area }]) => [number, taken(area)] as const)
  const ours: Metadata = {
    ...metadata,
    keyslots: new Map<number, LuksKeyslot | ForeignKeyslot>([...old, [slot, keyslot]]),
    segments: new Map([[0, final]]),
    digests: new Map([[0, { type: "pbkdf2", ...digest, keyslots: [slot], segments: [0] }]]),
    tokens: new Map(token === null ? [] : [[0, token]]),
  }
  const draft = new Draft({ ...header, metadata: ours }, new Map([[slot, area.bytes]]), keeper.path)
  for (const each of others) await draft.enrol(keeper, { secret: first.secret, slot }, each)
  return { draft, slot, area }
}

/** The header with keyslots of both keys, and the number of the new digest. */
function joined({ metadata }: LuksHeader, made: Metadata): { readonly metadata: Metadata; readonly newDigest: number } {
  const digest = made.digests.get(0)!
  const newDigest = freeDigest(metadata)
  const fresh = [...made.keyslots].filter(([slot]) => digest.keyslots.includes(slot))
  const both: Metadata = {
    ...metadata,
    keyslots: new Map([...metadata.keyslots, ...fresh]),
    digests: new Map([...metadata.digests, [newDigest, { ...digest, segments: [] }]]),
  }
  return { metadata: [...made.tokens.values()].reduce(addToken, both), newDigest }
}

/**
 * Throws REENCRYPT_UNFIT, LUKS2_AREA_FULL, LUKS2_METADATA_FULL, LUKS2_TOKENS_FULL (exit 4), and as the enclave decides;
 * nothing is written then. `beforeWriting` is called when all is made; nothing is written when it rejects.
 */
export async function startPass(
  keeper: VolumeKeeper,
  place: PassPlace,
  proof: Proof,
  key: NewKey,
  beforeWriting: () => Promise<void> = async () => {},
): Promise<void> {
  const { store, path } = keeper
  await store.update(async (header) => {
    const change = await begin(keeper, place, await Draft.read(store, header, path), proof, key)
    await beforeWriting()
    return change
  })
}

async function begin(
  keeper: VolumeKeeper,
  place: PassPlace,
  old: Draft,
  proof: Proof,
  key: NewKey,
): Promise<HeaderChange> {
  const { path } = keeper
  for (const each of key.alsoOld ?? []) await old.enrol(keeper, proof, each)
  const { header } = old
  const previous: Header = old.tried(proof)
  const segment: Segment = {
    ...previous.segment,
    sectorSize: key.sectorSize ?? previous.segment.sectorSize,
    keySize: key.keySize ?? previous.segment.keySize,
  }
  const before = header.metadata.segments.get(0)!
  const final: LuksSegment = { ...before, sectorSize: segment.sectorSize }
  checkFits(path, place, { previous: before, final, moved: null })
  const made = await makeNewKey(keeper, header, segment, final, key.keyslots)
  const { draft, slot } = made
  const { metadata, newDigest } = joined(header, draft.metadata)
  const entering = {
    header: { ...header, metadata },
    mode: "reencrypt",
    previous: before,
    final,
    moved: null,
    oldDigest: digestOfData(metadata),
    newDigest,
    sides: { previous, final: draft.enclaveHeader((each) => each === slot) },
    resilience: key.resilience,
  } as const
  const entered = await enterReencryption(keeper, place, entering, proof.secret)
  return { header: entered, writeAreas: [...old.writes, made.area, ...draft.writes] }
}
