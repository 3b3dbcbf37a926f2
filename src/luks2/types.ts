/**
 * A LUKS2 volume as an enclave is given it: what can be opened, and by which
 * parameters. metadata.ts has the header as it lies on disk. Sizes are bytes. Pure.
 */

import type { HashType } from "../abi/enclave.ts"
import type { CIPHER, SectorSize } from "./limits.ts"
import type { Made } from "./made.ts"

export type Hash = HashType

export type Kdf =
  | { readonly type: "pbkdf2"; readonly hash: Hash; readonly iterations: number }
  | { readonly type: "argon2i" | "argon2id"; readonly time: number; readonly memoryKib: number; readonly lanes: number }

export interface Segment {
  readonly cipher: typeof CIPHER
  readonly sectorSize: SectorSize
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
  /** AF material as on disk: keySize * STRIPES, rounded up to 512. */
  readonly area: Uint8Array
  /** Tresor slot: struct tresor_sealed_salt. */
  readonly sealed: Uint8Array | null
  /** Whether the passphrase is tried on it; array order is try order. */
  readonly tried: boolean
  /** What its token says of that, for people. */
  readonly made?: Made | null
}

/** The same without what is secret or large: what a client sees and asks for. */
export interface PublicKeyslot extends Omit<Keyslot, "area" | "sealed" | "made"> {
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
