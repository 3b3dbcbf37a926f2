/** Messages why a seal does not open; with the difference if blob and enclave are known. Pure. */
import type { Status } from "../abi/enclave.ts"
import type { Sealer } from "../luks2/tresor-token.ts"
import type { EnclaveIdentity } from "./types.ts"

export type SealStatus = Extract<keyof typeof Status, `seal_${string}`>

export const isSealStatus = (status: string): status is SealStatus => Object.hasOwn(WORDS, status)

interface Words {
  /** For a table. */
  readonly brief: string
  /** A clause of its own. */
  readonly fact: string
  /** The same with names and numbers. */
  readonly told?: (sealer: Sealer, ours: EnclaveIdentity) => string
}

/** Enough of a hash to tell two apart. */
const short = (hash: string) => `${hash.slice(0, 16)}…`

const WORDS: Readonly<Record<SealStatus, Words>> = {
  seal_damaged: {
    brief: "its salt is damaged",
    fact: "the sealed salt is damaged, or belongs to another volume, keyslot or KDF",
  },
  seal_signer: {
    brief: "another signer's enclave sealed it",
    fact: "another signer's enclave, or another product of the same signer, sealed it",
    told: ({ mrsigner, isvProdId }, ours) =>
      mrsigner === ours.mrsigner
        ? `another product of this signer sealed it (ISVPRODID ${isvProdId}, this enclave has ${ours.isvProdId})`
        : `another signer's enclave sealed it (MRSIGNER ${short(mrsigner)}, this enclave has ${short(ours.mrsigner)})`,
  },
  seal_enclave: {
    brief: "another enclave sealed it",
    fact: "it opens for another enclave only (policy mrenclave)",
    told: ({ mrenclave }, ours) =>
      `it opens for enclave ${short(mrenclave)} only (policy mrenclave; MRENCLAVE here is ${short(ours.mrenclave)})`,
  },
  seal_version: {
    brief: "a newer enclave or microcode sealed it",
    fact: "a newer enclave sealed it, or newer CPU microcode; upgrade",
    told: ({ isvSvn }, ours) =>
      isvSvn > ours.isvSvn
        ? `a newer enclave sealed it (ISVSVN ${isvSvn}, this enclave has ${ours.isvSvn}): upgrade Tresor`
        : "it was sealed under newer CPU microcode than is loaded: update the microcode",
  },
  seal_backend: {
    brief: "another backend sealed it",
    fact: "it was sealed under another backend",
    // Their DEBUG attributes differ, which every software enclave has.
    told: (_, { backend, debug }) => {
      if (backend === "software") return "it was sealed under backend sgx, this is backend software"
      return debug
        ? "an enclave that is no debug enclave sealed it, and this is one"
        : "it was sealed under backend software, or by a debug enclave; this is backend sgx"
    },
  },
  seal_machine: {
    brief: "another machine sealed it",
    fact: "it was sealed on another machine, or this machine's Tresor state was lost",
  },
}

export const sealBrief = (status: SealStatus): string => WORDS[status].brief

export const sealFact = (status: SealStatus): string => WORDS[status].fact

/** `sealer`: what the blob says in clear. */
export function sealDifference(status: SealStatus, sealer: Sealer, ours: EnclaveIdentity): string {
  const { fact, told } = WORDS[status]
  return told === undefined ? fact : told(sealer, ours)
}
