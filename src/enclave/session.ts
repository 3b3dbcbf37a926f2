/**
 * A started enclave: HELLO, entries, and KDFs one after the other. What both
 * images have in common; their operations are client.ts and vectors.ts.
 */
import { availableParallelism } from "node:os"
import { setTimeout as delay } from "node:timers/promises"
import type { Backend } from "../abi/enclave.ts"
import * as abi from "../abi/enclave.ts"
import { serial } from "../base/serial.ts"
import type { Kdf } from "../luks2/types.ts"
import { addressOf, cpuFeatures, type NativeEnclave } from "../native/addon.ts"
import { EnclaveError, enclaveLost, statusName } from "./error.ts"
import { Request } from "./request.ts"
import type { EnclaveIdentity } from "./types.ts"

/** The KDF passed to entries that may run Argon2 with this much help at most. */
const HELPERS = Math.min(availableParallelism(), abi.Limit.threads) - 1
const ASSIST_PAUSE_MS = 2
/** How long `close` waits for a KDF that runs. */
const CLOSE_WAIT_MS = 2000

/** TRESOR_ENTER_LOST of addon.h. */
export const LOST = 0xffff_ffff

/** Lanes of the KDF that has the most: so many threads it can use. */
export function mostLanes(kdfs: readonly (Kdf | null)[]): number {
  return kdfs.reduce((most, kdf) => (kdf === null || kdf.type === "pbkdf2" ? most : Math.max(most, kdf.lanes)), 1)
}

export abstract class Session {
  readonly identity: EnclaveIdentity
  readonly #native: NativeEnclave
  /** KDFs one after the other: the enclave's heap has one tenant. */
  readonly #derivations = serial()
  #closed = false

  protected constructor(native: NativeEnclave, identity: EnclaveIdentity) {
    this.#native = native
    this.identity = identity
  }

  /** HELLO. `cpu`: features to use at most, for tests and benchmarks. Owns `native` from now on. */
  protected static async hello(native: NativeEnclave, backend: Backend, cpu = 0xffff_ffff): Promise<EnclaveIdentity> {
    const request = new Request(abi.hello, 0, addressOf)
    const hint = (cpuFeatures() & cpu) >>> 0
    const bytes = request.fill(abi.Op.hello, {
      abi_version: abi.ABI_VERSION,
      cpu: hint,
      dynamic_size: native.dynamicSize,
    })
    try {
      const status = await native.enterAsync(bytes)
      if (status === LOST) throw enclaveLost(native.fault)
      const failed = statusName(status)
      if (failed !== null) throw new EnclaveError(failed)
    } catch (error) {
      native.destroy()
      throw error
    }
    const hello = request.result()
    const hex = (value: Uint8Array) => Buffer.from(value).toString("hex")
    return {
      backend,
      mrenclave: hex(hello.mrenclave),
      mrsigner: hex(hello.mrsigner),
      isvProdId: hello.isv_prod_id,
      isvSvn: hello.isv_svn,
      cpuSvn: hex(hello.cpu_svn),
      debug: (hello.attributes & 2n) !== 0n,
      xfrm: hello.xfrm,
      publicKey: hello.public_key,
      aes: hello.cpu & abi.Cpu.vaes512 ? "vaes512" : hello.cpu & abi.Cpu.vaes256 ? "vaes256" : "aesni",
      kdfMemoryKib: Number(hello.heap_size / 1024n),
      // Asked each time: the heap is mapped again after each KDF, and may be of a weaker kind.
      get memory() {
        return native.memory
      },
    }
  }

  get alive(): boolean {
    return !this.#closed && this.#native.alive
  }

  /** By an entry for an operation that there is not. A software enclave is never taken away. */
  probe(): void {
    if (!this.alive || this.identity.backend !== "sgx") return
    this.#native.enter(new Request(abi.assist, 0, addressOf).fill(0, {}))
  }

  /** What the C parts of the data path hold on to. */
  get native(): NativeEnclave {
    return this.#native
  }

  protected answered(status: number): void {
    if (status === LOST) throw enclaveLost(this.#native.fault)
    const failed = statusName(status)
    if (failed !== null) throw new EnclaveError(failed)
  }

  protected enterNow(bytes: Uint8Array): void {
    if (!this.alive) throw enclaveLost(this.#native.fault)
    this.answered(this.#native.enter(bytes))
  }

  protected async enter(bytes: Uint8Array): Promise<number> {
    if (!this.alive) throw enclaveLost(this.#native.fault)
    const status = await this.#native.enterAsync(bytes)
    if (status === LOST) throw enclaveLost(this.#native.fault)
    return status
  }

  /**
   * Enters with something that runs KDFs of at most `lanes` lanes; other
   * threads lend themselves meanwhile, and the heap is given back after.
   */
  protected derive(bytes: Uint8Array, lanes: number): Promise<number> {
    return this.#derivations(async () => {
      let running = true
      const assist = async () => {
        while (running && this.alive) {
          const request = new Request(abi.assist, 0, addressOf)
          await this.#native.enterAsync(request.fill(abi.Op.assist, {}))
          if (running) await delay(ASSIST_PAUSE_MS)
        }
      }
      const main = this.enter(bytes)
      const helpers = Array.from({ length: Math.min(lanes - 1, HELPERS) }, assist)
      try {
        return await main
      } finally {
        running = false
        await Promise.all(helpers)
        if (this.alive) this.#native.trimHeap()
      }
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // A KDF cannot be stopped; its memory goes with the thread that runs it, or with the process.
    await Promise.race([this.#derivations(async () => {}), delay(CLOSE_WAIT_MS, undefined, { ref: false })])
    this.#native.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
