/** The header behind a served volume: read at each unlock, written when a salt was resealed. */
import type { Backend } from "../abi/enclave.ts"
import { keyslotsArea } from "../luks2/areas.ts"
import { faultsOf, faultWords } from "../luks2/faults.ts"
import type { LuksHeader, Metadata } from "../luks2/metadata.ts"
import { foreignKind, type Reencryption, reencryptionOf } from "../luks2/reencryption.ts"
import { positionOf } from "../luks2/reencryption-position.ts"
import { checkTampering } from "../luks2/tampering.ts"
import { sealerOf, TRESOR_TOKEN, type TresorToken } from "../luks2/tresor-token.ts"
import type { Header, Segment } from "../luks2/types.ts"
import { enclaveHeader, requireBackend, triedByDefault, unmet, unsupportedKeyslots } from "../luks2/volume-header.ts"
import { brokenWords, HeaderStore } from "./header-store.ts"
import { type HeaderStoreOptions, openForHeader } from "./open.ts"
import { areasOf, sideHeader } from "./side.ts"

/**
 * What is served of the volume; in a reencryption from key to key that Tresor takes on, in sectors of the larger size. Throws
 * LUKS2_REQUIREMENTS (exit 4) of any other, and of one whose data are all under the new key.
 */
async function servedSegment(store: HeaderStore, reencryption: Reencryption): Promise<Segment> {
  const { header } = store
  const where = positionOf(header.metadata, reencryption)
  const serves = reencryption.mode === "reencrypt" && foreignKind(reencryption) === null
  if (!serves || typeof where === "string" || where.done) throw unmet(header)
  const { segment } = await sideHeader(store, reencryption, "old")
  const sectorSize = Math.max(reencryption.previous.sectorSize, reencryption.final.sectorSize)
  return { ...segment, sectorSize: sectorSize as Segment["sectorSize"] }
}

function resealed(token: TresorToken, sealed: Uint8Array): TresorToken {
  const { mrenclave, mrsigner, isvProdId, isvSvn, policy } = sealerOf(sealed)
  return { ...token, sealed, enclave: { ...token.enclave, mrenclave, mrsigner, isvProdId, isvSvn, policy } }
}

function withSealed(header: LuksHeader, slot: number, sealed: Uint8Array): LuksHeader {
  const tokens: Metadata["tokens"] = new Map(
    [...header.metadata.tokens].map(([number, token]) => {
      const ours = !("foreign" in token) && token.keyslots.includes(slot)
      return [number, ours ? resealed(token as TresorToken, sealed) : token] as const
    }),
  )
  return { ...header, metadata: { ...header.metadata, tokens } }
}

/** The header's contents, and where a resealed salt is written. */
export interface HeaderAccess {
  readonly uuid: string
  readonly label: string
  /** Read again at each unlock: cryptsetup may have changed keyslots in between. */
  read(): Promise<Header>
  /** What `read` left out because it is damaged, one clause each. */
  faults?(): readonly string[]
  saveSealed(slot: number, sealed: Uint8Array): Promise<void>
}

export interface OpenHeader extends HeaderAccess {
  readonly segment: Segment
  readonly size: bigint
  /** Whether a passphrase is sealed to some enclave. */
  readonly sealed: boolean
  /** The header's persistent flag allow-discards, as cryptsetup sets it. */
  readonly discards: boolean
  /** A reencryption is pending. */
  readonly reencrypts: boolean
  /** The header's store while `work` runs. */
  use<T>(work: (store: HeaderStore) => Promise<T>): Promise<T>
}

interface HeaderOptions extends Pick<HeaderStoreOptions, "permit" | "patienceMs"> {
  readonly readOnly: boolean
  readonly backend: Backend
  /** What is opened at each use; the path when absent, as for NBD. */
  readonly at?: string
  /** Has the header's NBD export together with the data. */
  readonly owner: object
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}

/**
 * Opens the header at `path` for each use and not in between, so that
 * cryptsetup and the key commands can change it while the volume is served.
 * `segment` and `size` (bytes of copies and keyslots) are as they were found now.
 */
export async function openHeader(path: string, { backend, warn, ...options }: HeaderOptions): Promise<OpenHeader> {
  async function use<T>(work: (store: HeaderStore) => Promise<T>): Promise<T> {
    const device = await openForHeader(path, { ...options, readonlyHelps: true })
    try {
      return await work(await HeaderStore.open(device))
    } finally {
      await device.close()
    }
  }
  let faults: readonly string[] = []
  async function read(store: HeaderStore): Promise<Header> {
    faults = [...faultsOf(store.header.metadata).map(faultWords), ...unsupportedKeyslots(store.header)]
    requireBackend(store.header, backend, path)
    return enclaveHeader(store.header, await areasOf(store, store.header), triedByDefault(store.header))
  }
  const [header, segment, reencrypts] = await use(async (store) => {
    if (store.stale.length > 0) warn(brokenWords(path, store.stale), { path })
    checkTampering(store.header.metadata, "open this volume")
    const pending = reencryptionOf(store.header.metadata)
    if (pending === null) return [store.header, (await read(store)).segment, false] as const
    requireBackend(store.header, backend, path)
    return [store.header, await servedSegment(store, pending), true] as const
  })
  const { uuid, label } = header
  return {
    uuid,
    label,
    segment,
    size: keyslotsArea(header).end,
    sealed: [...header.metadata.tokens.values()].some(({ type }) => type === TRESOR_TOKEN),
    discards: header.metadata.config.flags.includes("allow-discards"),
    reencrypts,
    use,
    read: () => use(read),
    faults: () => faults,
    saveSealed: (slot, sealed) =>
      use(async (store) => {
        await store.update(async (header) => ({ header: withSealed(header, slot, sealed) }))
      }),
  }
}
