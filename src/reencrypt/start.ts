/**
 * A reencryption begins: the enclave makes a new volume key with a keyslot for each passphrase that is carried over, and
 * one header brings all of that and LUKS2's own notes of a reencryption. Until then nothing of the volume has changed.
 */
import { Exit, TresorError } from "../base/errors.ts"
import type { Pass as PassRequest } from "../enclave/types.ts"
import type { AreaWrite, HeaderChange } from "../header/header-store.ts"
import { Draft, freshToken, luksKeyslot } from "../keyslots/draft.ts"
import { addToken } from "../keyslots/metadata-edit.ts"
import { type FreshKeyslot, freshParameters, type Proof, sealPolicy, type VolumeKeeper } from "../keyslots/parts.ts"
import { explainUnlock } from "../keyslots/seal-status.ts"
import { areaSize, findGap, freeSlot } from "../luks2/areas.ts"
import { encodeCopy } from "../luks2/binary-header.ts"
import { emitMetadata } from "../luks2/emit.ts"
import type { ForeignKeyslot, LuksHeader, LuksKeyslot, LuksSegment, Metadata } from "../luks2/metadata.ts"
import { begun, freeDigest, placed, reencryptionOf, roomForPass, taken, withState } from "../luks2/reencryption.ts"
import type { Header, Segment } from "../luks2/types.ts"
import { type PassPlace, volumeSize } from "./run.ts"
import { probeAt, UNPROBED } from "./zones.ts"

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

/** The volume key is random: iterations protect nothing; cryptsetup's minimum. */
const DIGEST = { hash: "sha256", iterations: 1000 } as const

function unfit(path: string, fact: string): TresorError {
  return new TresorError("REENCRYPT_UNFIT", Exit.wrongDevice, `Cannot reencrypt ${path}: ${fact}`)
}

/** Keyslots, digest and tokens of the new key, as a header of their own in which all of the old stays taken. */
async function makeKey(
  { enclave, seal, path }: VolumeKeeper,
  header: LuksHeader,
  segment: Segment,
  final: LuksSegment,
  [first, ...others]: NewKey["keyslots"],
): Promise<{ readonly draft: Draft; readonly slot: number; readonly area: AreaWrite }> {
  const { metadata, uuid } = header
  const slot = freeSlot(metadata, first.slot)
  const size = areaSize(segment.keySize)
  const offset = findGap(header, size)
  const parameters = freshParameters(first, slot, segment.keySize, { offset, size })
  const policy = sealPolicy(first)
  const description = { uuid, segment, digest: DIGEST }
  const sealed = await seal({ purpose: "create", ...description, fresh: parameters, policy }, { fresh: first.secret })
  const made = await enclave.create(sealed, description, parameters, policy)
  const token = freshToken(first, slot, made.keyslot, enclave.identity, made.macs)
  const old = [...metadata.keyslots].map(([number, { area }]) => [number, taken(area)] as const)
  const ours: Metadata = {
    ...metadata,
    keyslots: new Map<number, LuksKeyslot | ForeignKeyslot>([...old, [slot, luksKeyslot(parameters, made.keyslot)]]),
    segments: new Map([[0, final]]),
    digests: new Map([[0, { type: "pbkdf2", ...made.digest, keyslots: [slot], segments: [0] }]]),
    tokens: new Map(token === null ? [] : [[0, token]]),
  }
  const draft = new Draft({ ...header, metadata: ours }, new Map([[slot, made.keyslot.area]]), path)
  for (const each of others) await draft.enrol({ enclave, seal }, { secret: first.secret, slot }, each)
  return { draft, slot, area: { offset, bytes: made.keyslot.area } }
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

/** Refuses what could not be finished. `segment`: as it shall be. */
function checkFits(path: string, place: PassPlace, header: LuksHeader, previous: Segment, segment: Segment): number {
  const total = volumeSize(place.data, { previous: header.metadata.segments.get(0)! })
  if (previous.ivTweak !== 0n) throw unfit(path, "its segment has an iv_tweak")
  if (total <= 0) throw unfit(path, "it ends before its data; it may be truncated")
  if (place.inUse === true && segment.sectorSize !== previous.sectorSize) {
    throw unfit(path, "it is open, and those who use it know its sector size; close it to change that")
  }
  if (total % segment.sectorSize !== 0) {
    throw unfit(path, `its ${total} bytes of data are not a multiple of the sector size ${segment.sectorSize}`)
  }
  if (Number(segment.offset) % segment.sectorSize !== 0) {
    throw unfit(
      path,
      `its data begin at byte ${segment.offset}, which is not a multiple of the sector size ${segment.sectorSize}`,
    )
  }
  return total
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
  const { enclave, seal, path } = keeper
  for (const each of key.alsoOld ?? []) await old.enrol(keeper, proof, each)
  const { header } = old
  const previous: Header = old.tried(proof)
  const segment: Segment = {
    ...previous.segment,
    sectorSize: key.sectorSize ?? previous.segment.sectorSize,
    keySize: key.keySize ?? previous.segment.keySize,
  }
  const total = checkFits(path, place, header, previous.segment, segment)
  const final: LuksSegment = { ...header.metadata.segments.get(0)!, sectorSize: segment.sectorSize }
  const made = await makeKey(keeper, header, segment, final, key.keyslots)
  const { draft, slot } = made
  const { metadata, newDigest } = joined(header, draft.metadata)
  const room = roomForPass({ ...header, metadata })
  const block = Math.max(previous.segment.sectorSize, segment.sectorSize)
  if (room === null) throw unfit(path, "its keyslots area or its 32 keyslots are full; remove a keyslot first")
  const area = { type: key.resilience, offset: room.offset, size: room.size, block }
  const probed = { data: place.data, offset: Number(segment.offset), total, sector: block }
  const probe = place.inUse === true ? UNPROBED : await probeAt(probed, 0)
  const request: PassRequest = {
    previous,
    final: draft.enclaveHeader((each) => each === slot),
    area: {
      resilience: key.resilience,
      block: key.resilience === "checksum" ? block : 0,
      offset: room.offset,
      size: room.size,
    },
    progress: { position: 0n, hot: 0n, probe },
    use: "convert",
    resumed: null,
  }
  const sealed = await seal({ purpose: "reencrypt", pass: request }, { existing: proof.secret })
  const { handle, verification, mac } = await enclave.reencrypt(sealed, request).catch((error: unknown) => {
    throw explainUnlock(error, previous, enclave.identity, path)
  })
  // Its position is the header's: whoever goes on proves the passphrase for what was written.
  enclave.closeVolume(handle)
  const pass = { slot: room.slot, area, final, newDigest, verification }
  const size = BigInt(total)
  const entered = withState(begun(metadata, pass, size), { mac, probe, size })
  // With a hot zone in the middle it is longest.
  const longest = placed(entered, reencryptionOf(entered)!, { position: size / 2n, hot: 1n }, size)
  await encodeCopy({ ...header, metadata: longest } as LuksHeader, emitMetadata(longest), "primary")
  return { header: { ...header, metadata: entered }, writeAreas: [...old.writes, made.area, ...draft.writes] }
}
