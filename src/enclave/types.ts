/**
 * What the rest of the product sees of an enclave. Types only: `client.ts`
 * implements `Enclave` over the addon, tests may implement it otherwise.
 * Shapes mirror abi/enclave.h; all sizes are bytes.
 */

export type Backend = "software" | "sgx"
export type Hash = "sha1" | "sha224" | "sha256" | "sha384" | "sha512"
export type SealPolicy = "mrsigner" | "mrenclave"
export type Purpose = "create" | "unlock" | "enrol" | "authenticate" | "legacy"
export type BlockMode = "xts" | "cbc" | "ctr" | "ecb" | "cbc-essiv"

/** Names a volume key held inside the enclave. Carries no key material. */
export type VolumeHandle = number & { readonly __handle: true }

export type Kdf =
  | { readonly type: "pbkdf2"; readonly hash: Hash; readonly iterations: number }
  | { readonly type: "argon2i" | "argon2id"; readonly time: number; readonly memoryKib: number; readonly lanes: number }

export interface Segment {
  readonly cipher: "aes-xts-plain64"
  readonly sectorSize: 512 | 1024 | 2048 | 4096
  readonly keySize: 32 | 64
  readonly offset: bigint
  /** `null`: follows the device. */
  readonly size: bigint | null
  readonly ivTweak: bigint
}

export interface Digest {
  readonly hash: Hash
  readonly iterations: number
  readonly salt: Uint8Array
  readonly digest: Uint8Array
}

/** A keyslot's public parameters, without its key material. */
export interface KeyslotParameters {
  readonly slot: number
  readonly kdf: Kdf
  readonly afHash: Hash
  readonly areaKeySize: 32 | 64
  readonly keySize: 32 | 64
  readonly areaOffset: bigint
  readonly areaSize: bigint
  /** Tresor slot: KDF of the typed passphrase over the sealed salt. */
  readonly passphraseKdf: Kdf | null
}

/** A keyslot as found on disk. */
export interface Keyslot extends KeyslotParameters {
  readonly salt: Uint8Array
  /** AF material as on disk: keySize * 4000, rounded up to 512. */
  readonly area: Uint8Array
  /** Tresor slot: struct tresor_sealed_salt, 768 bytes. */
  readonly sealed: Uint8Array | null
  /** Whether the passphrase is tried on it; array order is try order. */
  readonly tried: boolean
}

/** The same without what is secret or large: what a client sees and asks for. */
export interface PublicKeyslot extends Omit<Keyslot, "area" | "sealed"> {
  /** Bytes of the sealed salt; 0: a keyslot that is not sealed. */
  readonly sealedSize: number
}

/** A keyslot the enclave has just made. */
export interface MadeKeyslot {
  readonly salt: Uint8Array
  readonly area: Uint8Array
  readonly sealed: Uint8Array | null
}

/** The token's MACs; keyslot number -> 32 bytes. */
export interface HeaderMacs {
  readonly segment: Uint8Array
  readonly keyslots: ReadonlyMap<number, Uint8Array>
}

/** Associated data of a sealed request. */
export interface RequestContext {
  readonly purpose: Purpose
  readonly uuid: string
  /** `null`: any of the keyslots given. */
  readonly slot: number | null
  readonly freshSlot: number | null
  /** Whether a keyslot without a sealed salt may be tried or made. */
  readonly unsealed: boolean
  /** SHA-256 over the public parameters of the whole request, see asked.ts. */
  readonly request: Uint8Array
  readonly nonce: Uint8Array
}

/** enc || ciphertext || tag with the context it is bound to. */
export interface SealedRequest {
  readonly context: RequestContext
  readonly bytes: Uint8Array
}

export interface HeaderFacts {
  readonly segmentChanged: boolean
  readonly slotsChanged: readonly number[]
  readonly slotsAdded: readonly number[]
  readonly slotsRemoved: readonly number[]
  /** Refused for that: a sealed keyslot has MACs, so somebody took them away. */
  readonly macsMissing?: true
}

/** Kind of memory each region lies in: "EPC", "memfd_secret", "mlock" or "plain"; the weakest there has been so far. */
export interface MemoryKinds {
  /** The image's data and its threads' stacks. */
  readonly keys: string
  /** Outside the image: where a signal or the emulator saves the enclave's registers. */
  readonly stacks: string
  /** Passphrases, slot keys, memory of a KDF. */
  readonly heap: string
}

export interface EnclaveIdentity {
  readonly backend: Backend
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly cpuSvn: string
  readonly debug: boolean
  readonly xfrm: bigint
  /** X25519, fresh per start. */
  readonly publicKey: Uint8Array
  /** Code path in use: "vaes512" | "vaes256" | "aesni". */
  readonly aes: string
  /** Largest memory a KDF can have, KiB. */
  readonly kdfMemoryKib: number
  readonly memory: MemoryKinds
}

export interface Header {
  readonly uuid: string
  readonly segment: Segment
  readonly digest: Digest
  readonly keyslots: readonly Keyslot[]
  readonly macs: HeaderMacs | null
}

/** What a client sees of a header before it seals a passphrase for it. */
export interface PublicHeader {
  readonly uuid: string
  readonly segment: Segment
  readonly digest: Digest
  readonly keyslots: readonly PublicKeyslot[]
  /** Whether it has MACs. */
  readonly authenticated: boolean
}

export interface Unlocked extends HeaderFacts {
  readonly handle: VolumeHandle
  readonly slot: number
  /** The salt of `slot` sealed anew because the seal was stale; write it to the token. */
  readonly resealed: Uint8Array | null
}

export interface Authenticated {
  readonly macs: HeaderMacs
  /** A sealed keyslot opened although the header had no MACs: somebody took them away. */
  readonly macsMissing: boolean
}

export interface Block {
  readonly input: Uint8Array
  readonly output: Uint8Array
  readonly handle: VolumeHandle
  readonly mode: BlockMode
  readonly decrypt: boolean
  /** 16 bytes, updated in place. */
  readonly iv: Uint8Array
}

export interface Range {
  readonly input: Uint8Array
  readonly output: Uint8Array
  /** 512-byte units from the segment's start. */
  readonly sector: bigint
}

/**
 * Whole sectors between a file and memory, many in one entry, as far as that
 * does not wait for a disk: see addon/io/sectors.c for the table, and
 * src/volume/sector-batch.ts. Both return 0, or the status of an entry that
 * failed: then no row is valid.
 */
export interface FileSectors {
  read(buffer: ArrayBuffer, table: Float64Array, rows: number): number
  write(buffer: ArrayBuffer, table: Float64Array, rows: number): number
}

/**
 * Every method rejects with TresorError; codes are ENCLAVE_<STATUS> after
 * enum tresor_status (ENCLAVE_PASSPHRASE, ENCLAVE_MESSAGE, ENCLAVE_SEAL_MACHINE, …).
 * An ENCLAVE_HEADER error carries `facts: HeaderFacts`.
 */
export interface Enclave extends AsyncDisposable {
  readonly identity: EnclaveIdentity
  /** False after a fault inside, a failed self-test, or loss of the EPC. */
  readonly alive: boolean
  challenge(purpose: Purpose): Promise<Uint8Array>
  /** EREPORT, 432 bytes. */
  report(targetInfo: Uint8Array, nonce: Uint8Array): Promise<Uint8Array>
  create(
    sealed: SealedRequest,
    header: {
      readonly uuid: string
      readonly segment: Segment
      readonly digest: { readonly hash: Hash; readonly iterations: number }
    },
    keyslot: KeyslotParameters,
    policy: SealPolicy,
  ): Promise<{ readonly digest: Digest; readonly keyslot: MadeKeyslot; readonly macs: HeaderMacs }>
  /** A stale seal is made again under its own policy. */
  unlock(sealed: SealedRequest, header: Header): Promise<Unlocked>
  /** Purpose "authenticate": proves a passphrase and makes the MACs again, also where there were none. */
  authenticate(sealed: SealedRequest, header: Header): Promise<Authenticated>
  enrol(
    sealed: SealedRequest,
    header: Header,
    fresh: KeyslotParameters,
    policy: SealPolicy,
  ): Promise<{ readonly keyslot: MadeKeyslot; readonly macs: HeaderMacs; readonly slot: number }>
  legacy(request: {
    readonly uuid: string
    readonly mode: BlockMode
    readonly keySize: number
    readonly kdf: Kdf
    /** The salt; or make one, sealed under this policy. */
    readonly salt: { readonly sealed: Uint8Array } | { readonly make: SealPolicy }
    readonly secret: Uint8Array | SealedRequest
  }): Promise<{ readonly handle: VolumeHandle; readonly sealed: Uint8Array }>
  /** Synchronous: one entry for up to 256 ranges; the data path's fallback and the tests' way in. */
  sectors(handle: VolumeHandle, decrypt: boolean, ranges: readonly Range[]): void
  /** The same past JavaScript, on an open file; absent in enclaves that tests play. `fd` stays the caller's. */
  fileSectors?(handle: VolumeHandle, fd: number): FileSectors
  blocks(blocks: readonly Block[]): void
  /** Wipes the keys. */
  closeVolume(handle: VolumeHandle): void
  selftest(): Promise<readonly { readonly name: string; readonly passed: boolean }[]>
  /** Runs a KDF on fixed input; milliseconds. */
  benchmark(kdf: Kdf, keySize: number): Promise<number>
  close(): Promise<void>
}

/** Reads a machine-wide secret-free view: used by `status`, `doctor`. */
export interface EnclaveOptions {
  readonly backend: Backend | "auto"
  /** Software backend: cycles burnt per entry and exit, to model SGX. */
  readonly transitionCycles?: number
  /** Software backend: directory of the machine secret. */
  readonly stateDir?: string
  /** Nothing sealed is opened or made: where no machine secret can be kept, one for this process will do. */
  readonly sealsNothing?: boolean
  /** CPU feature mask, to force slower paths in tests and benchmarks. */
  readonly cpu?: number
}
