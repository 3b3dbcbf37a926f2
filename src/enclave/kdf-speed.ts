/** Speed of a KDF in this machine's enclave, measured on request in the image made for that. */

import type { Backend } from "../abi/enclave.ts"
import type { Kdf } from "../luks2/types.ts"
import { openVectors } from "./loader.ts"
import type { VectorsClient } from "./vectors.ts"

export class KdfSpeed implements AsyncDisposable {
  readonly #backend: Backend
  readonly #keySize: number
  #vectors: Promise<VectorsClient> | null = null

  /** `keySize`: bytes the KDF puts out, 16 to 64. */
  constructor(backend: Backend, keySize: number) {
    this.#backend = backend
    this.#keySize = keySize
  }

  /** Milliseconds. Throws as openEnclave does, and ENCLAVE_MEMORY. */
  async measure(kdf: Kdf): Promise<number> {
    this.#vectors ??= openVectors({ backend: this.#backend })
    return (await this.#vectors).benchmark(kdf, this.#keySize)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever measured has been told that it could not be opened.
    const vectors = await this.#vectors?.catch(() => null)
    await vectors?.close()
  }
}
