/**
 * The second image (enclave/vectors): published vectors, and how long a KDF
 * takes. Made of the product's objects, and without any operation on keys.
 */

import type { Backend } from "../abi/enclave.ts"
import * as abi from "../abi/enclave.ts"
import type { Kdf } from "../luks2/types.ts"
import { addressOf, type NativeEnclave } from "../native/addon.ts"
import { EnclaveError, statusName } from "./error.ts"
import { kdfFields } from "./marshal.ts"
import { Request } from "./request.ts"
import { mostLanes, Session } from "./session.ts"

export class VectorsClient extends Session {
  /** HELLO. `cpu`: features to use at most. Owns `native` from now on. */
  static async start(native: NativeEnclave, backend: Backend, cpu?: number): Promise<VectorsClient> {
    return new VectorsClient(native, await Session.hello(native, backend, cpu))
  }

  /** One published vector set after the other. */
  async selftest(): Promise<readonly { readonly name: string; readonly passed: boolean }[]> {
    const results: { name: string; passed: boolean }[] = []
    for (const [index, name] of abi.SELFTESTS.entries()) {
      const request = new Request(abi.selftest, 0, addressOf)
      const status = await this.derive(request.fill(abi.Op.selftest, { index }), 1)
      // The enclave has ended with it: no further one can be asked.
      if (status === abi.Status.dead) return [...results, { name, passed: false }]
      this.answered(status)
      results.push({ name, passed: true })
    }
    return results
  }

  /** Runs a KDF on fixed input; milliseconds. Throws ENCLAVE_MEMORY. */
  async benchmark(kdf: Kdf, keySize: number): Promise<number> {
    const request = new Request(abi.benchmark, 0, addressOf)
    const bytes = request.fill(abi.Op.benchmark, { kdf: kdfFields(kdf), key_size: keySize })
    const started = performance.now()
    const status = await this.derive(bytes, mostLanes([kdf]))
    const elapsed = performance.now() - started
    const failed = statusName(status)
    if (failed !== null) throw new EnclaveError(failed, { neededKib: request.result().needed_kib })
    return elapsed
  }
}
