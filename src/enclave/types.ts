/**
 * What the rest of the product sees of an enclave. Types only: `client.ts`
 * implements `Enclave` over the addon, tests may implement it otherwise.
 * Shapes mirror abi/enclave.h; all sizes are bytes.
 */

import type { Backend, Mode, PassUse, Purpose, Resilience, SealPolicy } from "../abi/enclave.ts"
import type { TresorError } from "../base/errors.ts"
import type { Digest, Hash, Header, HeaderMacs, Kdf, KeyslotParameters, MadeKeyslot, Segment } from "../luks2/types.ts"
import type { FileSectors, MemoryKinds } from "../native/addon.ts"
import type { NativeDisk } from "../native/disk.ts"

export type { Purpose, SealPolicy }
export type BlockMode = Mode

/** Names a volume key held inside the enclave. Carries no key material. */
export type VolumeHandle = number & { readonly __handle: true }

/** Associated data of a sealed request. */
export interface RequestContext {
  readonly purpose: Purpose
  readonly uuid: string
  /** `null`: any of the keyslots given. */
  readonly slot: number | null
  readonly freshSlot: number | null
  /** Whether a keyslot without a sealed salt may be tried or made. */
  readonly unsealed: boolean
  /** Purpose "succeed": whether the successor may have a lower ISVSVN. */
  readonly downgrade?: boolean
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
  /** Refused for that: a reencryption is not where it was when it was authenticated. */
  readonly passChanged?: true
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

export interface Unlocked extends HeaderFacts {
  readonly handle: VolumeHandle
  readonly slot: number
  /** The resealed salt of `slot`, whose seal was stale; write it to the token. */
  readonly resealed: Uint8Array | null
}

export interface Authenticated {
  readonly macs: HeaderMacs
  /** A sealed keyslot opened although the header had no MACs: somebody took them away. */
  readonly macsMissing: boolean
}

/** An enclave that shall open what another has sealed, or take a volume over, as it shows itself to that one. */
export interface Successor {
  /** MRENCLAVE, hex: what the user named. */
  readonly mrenclave: string
  readonly publicKey: Uint8Array
  /** `report(targetInfo of the predecessor, nonce)` of the successor. */
  readonly report: Uint8Array
  readonly nonce: Uint8Array
}

/** What LUKS2 keeps in the area of the keyslot of type reencrypt, so that a zone can be converted again. */
export interface PassArea {
  readonly resilience: keyof typeof Resilience
  /** "checksum": bytes with one SHA-256; else 0. */
  readonly block: number
  readonly offset: bigint
  readonly size: bigint
}

/**
 * How far a reencryption is; bytes from the volume's start on. What is before the position is converted; in a pass that
 * is backward, what is behind it.
 */
export interface PassProgress {
  readonly position: bigint
  /** Bytes next to those that are being converted; 0: none. */
  readonly hot: bigint
  /** SHA-256 of what comes after those, 32 zero bytes at the end. */
  readonly probe: Uint8Array
}

/** LUKS2's segment of type linear; bytes. `null`: as long as the device. */
export interface Plain {
  readonly plain: { readonly offset: bigint; readonly size: bigint | null }
}

/** A reencryption to be started or resumed; of plaintext it is an encryption, to plaintext a decryption. */
export interface Pass<H extends object = Header> {
  /** Before and after: segment, digest and keyslots of either key. One passphrase opens a keyslot of each. */
  readonly previous: H | Plain
  readonly final: H | Plain
  /**
   * Of an encryption, resilience "datashift": where the plaintext is that the header displaced. Of a decryption that fills
   * the header's place: the volume's first bytes, there; they are the last zone, and `resilience` is theirs.
   */
  readonly moved: { readonly offset: bigint; readonly size: bigint } | null
  readonly area: PassArea
  readonly progress: PassProgress
  /**
   * "convert": zones are opened. "serve": `sectors` and all that reads and writes with a handle; of zones, only the
   * one that is hot is ended. "both".
   */
  readonly use: keyof typeof PassUse
  /** `null`: start; both are made. */
  readonly resumed: {
    readonly verification: Digest
    /** `null`: another program went on with it, and the user vouches for that. */
    readonly mac: Uint8Array | null
  } | null
}

/** What a client names of a pass in its sealed request. */
export type AskedPass<H extends object> = Omit<Pass<H>, "resumed"> & {
  readonly resumed: Pick<NonNullable<Pass["resumed"]>, "mac"> | null
}

/** A pass inside the enclave: closeVolume wipes its keys. */
export interface BegunPass {
  readonly handle: VolumeHandle
  /** The keyslot that opened: of the new key, or in a decryption of the old one. */
  readonly slot: number
  readonly verification: Digest
  readonly mac: Uint8Array
  /** Of the header after, by its MACs. */
  readonly facts: HeaderFacts
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
 * Every method rejects with TresorError; codes are ENCLAVE_<STATUS> after
 * enum tresor_status (ENCLAVE_PASSPHRASE, ENCLAVE_MESSAGE, ENCLAVE_SEAL_MACHINE, …).
 * An ENCLAVE_HEADER error carries `facts: HeaderFacts`.
 */
export interface Enclave extends AsyncDisposable {
  readonly identity: EnclaveIdentity
  /** False after a fault inside, a failed self-test, or loss of the EPC. */
  readonly alive: boolean
  /** Enters for nothing: an enclave that a suspend has taken is found to be gone, as nobody else tells. */
  probe?(): void
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
  /**
   * Purpose "succeed": proves a passphrase and encrypts the salt of the keyslot that opened to its successor
   * (struct tresor_handover). Also ENCLAVE_SUCCESSOR: its report is not of the enclave the user named.
   */
  bequeath(
    sealed: SealedRequest,
    header: Header,
    successor: Successor,
    policy: SealPolicy,
  ): Promise<{ readonly handover: Uint8Array; readonly slot: number }>
  /** The salt that a predecessor handed over, sealed by this enclave: struct tresor_sealed_salt of its keyslot. */
  inherit(handover: Uint8Array): Promise<Uint8Array>
  /**
   * Purpose "approve": proves a passphrase of the open volume `handle`, whose key may from now on be yielded to the enclave
   * `successor` (MRENCLAVE, hex) as well. The keyslot that opened.
   */
  approve(sealed: SealedRequest, header: Header, handle: VolumeHandle, successor: string): Promise<number>
  /**
   * The key of an open volume, encrypted to another start of an enclave that may take it over (struct tresor_yielded).
   * Also ENCLAVE_SUCCESSOR: its report is not genuine or of another kind; ENCLAVE_APPROVAL: the owner did not approve it;
   * ENCLAVE_SEAL_VERSION: it is older.
   */
  yieldVolume(handle: VolumeHandle, successor: Successor): Promise<Uint8Array>
  /** What another enclave yielded to a challenge of ours (purpose "take_over"), once; the header is checked as by `unlock`. */
  takeOver(yielded: Uint8Array, header: Header): Promise<VolumeHandle>
  /** ENCLAVE_HEADER: `facts.segmentChanged` of a header, or the pass is not as it was authenticated (`passChanged`). */
  reencrypt(sealed: SealedRequest, pass: Pass): Promise<BegunPass>
  /**
   * Opens the hot zone of `hot` bytes at the position, or closes it (0), or there is none and the probe is another; the
   * MAC of the progress that this makes.
   */
  zone(handle: VolumeHandle, hot: bigint, probe: Uint8Array, last?: boolean): Uint8Array
  /** Ascending ranges of the hot zone, old ciphertext -> new. Memory stays the caller's, untouched until it resolves. */
  convert(handle: VolumeHandle, ranges: readonly Range[]): Promise<void>
  /**
   * Of a pass that serves, when all is converted: another handle, of the new key alone. The old key is gone when the
   * pass is closed.
   */
  finish(handle: VolumeHandle): VolumeHandle
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
  /** From now on the disk's transfers are with this key; absent in enclaves that tests play. */
  lend?(handle: VolumeHandle, disk: NativeDisk): void
  blocks(blocks: readonly Block[]): void
  /** Wipes the keys. */
  closeVolume(handle: VolumeHandle): void
  close(): Promise<void>
}

/** How an enclave is started. */
export interface EnclaveStart {
  readonly backend: Backend | "auto"
  /** Software backend: cycles burnt per entry and exit, to model SGX. */
  readonly transitionCycles?: number
  /** Software backend: directory of the machine secret. */
  readonly stateDir?: string
  /** Nothing sealed is opened or made: where no machine secret can be kept, one for this process will do. */
  readonly sealsNothing?: boolean
  /**
   * What is there is opened, and nothing sealed: hears why the TPM does not give the machine secret, and the enclave starts
   * without it, for recovery keys and portable passphrases.
   */
  readonly excuse?: (error: TresorError) => void
  /** CPU feature mask, to force slower paths in tests and benchmarks. */
  readonly cpu?: number
}
