/** Interfaces to the enclave and its surroundings that judging needs; tests implement both. */
import type { ReleaseSigners } from "../enclave/release-signers.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"

/** What is asked of an enclave; a superset is fine. */
export interface Attester {
  readonly identity: EnclaveIdentity
  /** A nonce of this process's making, fresh and for one judgement, that `report` was asked with before. Without it one is made. */
  freshNonce?(): Uint8Array
  /** EREPORT, 432 bytes. */
  report(targetInfo: Uint8Array, nonce: Uint8Array): Promise<Uint8Array>
  /** A quote made where the enclave runs, binding `nonce`. Without it this machine's aesmd is asked. */
  quote?(nonce: Uint8Array): Promise<Uint8Array>
}

/** What a quote is got and judged with. */
export interface EvidenceSources {
  readonly tell: (line: string) => void
  readonly now: () => Date
  /** `null`: aesmd's own. */
  readonly aesmSocket: string | null
  /** 04 || x || y; `null`: Intel's. */
  readonly rootKey: Uint8Array | null
}

export interface Surroundings extends EvidenceSources {
  /** `null`: nobody can be asked. */
  readonly ask: ((text: string, question: string) => Promise<boolean>) | null
  /** Of the image that belongs to this program; `null` when it is not built. */
  readonly own: { readonly mrenclave: string } | null
  /** Whose signature makes an upgrade of what is already known. */
  readonly signers: () => ReleaseSigners
}
