/** A small LUKS2 volume with one portable keyslot, as cryptsetup would have made it; for tests only. */
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import { HeaderStore } from "../header/header-store.ts"
import { areasOf } from "../header/side.ts"
import { makeKey } from "../keyslots/create.ts"
import type { FreshKeyslot, Seal } from "../keyslots/parts.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import type { Segment } from "../luks2/types.ts"
import { enclaveHeader } from "../luks2/volume-header.ts"
import type { Store } from "../store/store.ts"
import type { FakeEnclave } from "./fake-enclave.ts"

export const SMALL_UUID = "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11"
/** Bytes: where its data begin; they end with the store. */
export const SMALL_OFFSET = 1 << 20
const HEADER_SIZE = 16384

export function portable(secret: Uint8Array): FreshKeyslot {
  return { type: "portable", secret, slot: null, kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 } }
}

/** Writes its header to a store. */
export async function makeSmall(
  enclave: Enclave,
  seal: Seal,
  store: Store,
  secret: Uint8Array,
  { keySize, sectorSize }: Pick<Segment, "keySize" | "sectorSize">,
): Promise<HeaderStore> {
  const segment: Segment = {
    cipher: "aes-xts-plain64",
    sectorSize,
    keySize,
    offset: BigInt(SMALL_OFFSET),
    size: null,
    ivTweak: 0n,
  }
  const areaOffset = BigInt(2 * HEADER_SIZE)
  const made = await makeKey({ enclave, seal }, { uuid: SMALL_UUID, segment }, portable(secret), 0, areaOffset)
  const { offset, size, ivTweak, cipher: encryption } = segment
  const header: LuksHeader = {
    uuid: SMALL_UUID,
    label: "",
    subsystem: "",
    sequenceId: 1n,
    headerSize: HEADER_SIZE,
    metadata: {
      keyslots: new Map([[0, made.keyslot]]),
      segments: new Map([
        [0, { type: "crypt", offset, size, ivTweak, encryption, sectorSize, integrity: false, flags: [] }],
      ]),
      digests: new Map([[0, { type: "pbkdf2", ...made.digest, keyslots: [0], segments: [0] }]]),
      tokens: new Map(),
      config: {
        jsonSize: BigInt(HEADER_SIZE - 4096),
        keyslotsSize: BigInt(SMALL_OFFSET - 2 * HEADER_SIZE),
        flags: [],
        requirements: [],
      },
    },
  }
  return HeaderStore.format(store, header, [made.area])
}

/** By any keyslot that the passphrase opens. */
export async function unlockBy(enclave: FakeEnclave, store: HeaderStore, secret: Uint8Array): Promise<VolumeHandle> {
  const header = enclaveHeader(await store.reload(), await areasOf(store, store.header), () => true)
  const sealed = await enclave.seal({ purpose: "unlock", header, slot: null }, { existing: secret })
  return (await enclave.unlock(sealed, header)).handle
}

/** The volume key that a passphrase opens. */
export async function keyOf(enclave: FakeEnclave, store: HeaderStore, secret: Uint8Array): Promise<Uint8Array> {
  const handle = await unlockBy(enclave, store, secret)
  const key = enclave.keyOf(handle)
  enclave.closeVolume(handle)
  return key
}
