/** The two images of an installation, below its root: what is loaded, what says how, and who signed it. */

export interface ImageFiles {
  readonly image: string
  readonly conf: string
  readonly sigstruct: string
  /** What it measures, per compiler. */
  readonly pins: string
}

export const PRODUCT: ImageFiles = {
  image: "enclave/build/tresor.elf",
  conf: "enclave/enclave.conf",
  sigstruct: "enclave/build/tresor.sigstruct",
  pins: "enclave/MRENCLAVE",
}

/** Published vectors and KDF speed: the same objects, another ISVPRODID (enclave/Makefile). */
export const VECTORS: ImageFiles = {
  image: "enclave/build/vectors/vectors.elf",
  conf: "enclave/build/vectors/enclave.conf",
  sigstruct: "enclave/build/vectors/vectors.sigstruct",
  pins: "enclave/vectors/MRENCLAVE",
}
