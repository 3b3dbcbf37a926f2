/** /dev/tresor as a daemon sees it (abi/kmod.h), through the threads of addon/ring.c. */
import { existsSync } from "node:fs"
import { availableParallelism } from "node:os"
import { EnclaveClient } from "../enclave/client.ts"
import { type NativeRing, ring } from "../enclave/native.ts"
import type { BlockMode, Enclave, VolumeHandle } from "../enclave/types.ts"
import { Exit, TresorError } from "../errors.ts"

export const DEVICE = "/dev/tresor"

/** TRESOR_KMODE_*. */
const MODES: Readonly<Record<number, BlockMode>> = { 1: "xts", 2: "cbc", 3: "ctr", 4: "ecb", 5: "cbc-essiv" }

/** TRESOR_EVENT_*. */
const SETKEY = 1

/** setkey of a cipher in the kernel; `bytes` are the receiver's to wipe. */
export interface SetkeyEvent {
  readonly type: "setkey"
  readonly id: bigint
  readonly mode: BlockMode
  /** Of the key that is asked for; `bytes` has as many, or none. */
  readonly size: number
  /** `null`: asked again by the successor of a dead daemon, the bytes are gone. */
  readonly bytes: Uint8Array | null
}

/** The last cipher and request of a key are gone. */
export interface ForgetEvent {
  readonly type: "forget"
  readonly handle: VolumeHandle
}

export interface RingOptions {
  readonly legacy?: boolean
  /** At most one queue per CPU is of use: each is a thread. */
  readonly queues?: number
  /** Slots per queue, a power of two. */
  readonly depth?: number
  readonly onEvent?: (event: SetkeyEvent | ForgetEvent) => void
  /** Called once. Requests wait in the kernel for the next daemon. */
  readonly onLost: () => void
}

export interface RingCounters {
  /** Entries into the enclave. */
  readonly batches: number
  readonly blocks: number
  readonly bytes: number
  readonly failures: number
}

/** A spinning thread needs a CPU that nobody misses (docs/performance.md). */
const SPIN_US = availableParallelism() >= 4 ? 50 : 0

function attachError(error: unknown): TresorError {
  const { code } = error as NodeJS.ErrnoException
  const reasons: Readonly<Record<string, readonly [number, string]>> = {
    ENOENT: [Exit.wrongDevice, `there is no ${DEVICE}; \`tresor kernel load\` loads the module`],
    EACCES: [Exit.denied, `${DEVICE} is root's alone; run as root`],
    EPERM: [Exit.denied, `${DEVICE} asks for CAP_SYS_ADMIN; run as root`],
    EBUSY: [Exit.busy, "another legacy daemon is attached; `tresor close legacy` ends it"],
    EPROTO: [
      Exit.wrongDevice,
      "the loaded tresor.ko is of another version; `tresor kernel install`, then load it anew",
    ],
    ENOMEM: [Exit.noMemory, "its memory cannot be locked; raise RLIMIT_MEMLOCK or run as root"],
  }
  const [exitCode, reason] = reasons[code ?? ""] ?? [Exit.wrongDevice, (error as Error).message]
  return new TresorError(
    `ATTACH_${code ?? "FAILED"}`,
    exitCode as TresorError["exitCode"],
    `Cannot attach to tresor.ko: ${reason}`,
  )
}

export class KernelRing {
  readonly #ring: NativeRing
  /** Set when it has stopped. */
  #last: RingCounters | null = null

  /** Threads serve requests from here on, of which there are none before `add`. */
  constructor(enclave: Enclave, options: RingOptions) {
    if (!(enclave instanceof EnclaveClient)) throw new TypeError("an enclave without a native side has no ring")
    const queues = options.queues ?? Math.min(4, availableParallelism())
    let lost = false
    try {
      this.#ring = ring.ringOpen(
        enclave.native,
        queues,
        options.depth ?? 256,
        options.legacy === true,
        SPIN_US,
        (event) => {
          if (event === null) {
            if (!lost && this.#last === null) options.onLost()
            lost = true
          } else if (event.type === SETKEY) {
            const { id, size } = event
            const mode = MODES[event.mode]
            if (mode === undefined) return
            const bytes = (event.flags & 1) === 0 ? event.bytes : null
            options.onEvent?.({ type: "setkey", id, mode, size, bytes })
          } else {
            options.onEvent?.({ type: "forget", handle: event.cookie as VolumeHandle })
          }
        },
      )
    } catch (error) {
      throw attachError(error)
    }
  }

  /** Requests under `handle` are `key`'s from here on. Returns how many ciphers hold the handle already. */
  add(handle: Uint8Array, key: VolumeHandle): number {
    return ring.ringAdd(this.#ring, handle, key)
  }

  /** The handle is dead: -ENOKEY. Returns how many ciphers still held it. */
  drop(handle: Uint8Array): number {
    return ring.ringDrop(this.#ring, handle)
  }

  /** False: nobody waits for it any more, the key is to be wiped. */
  serve(id: bigint, key: VolumeHandle): boolean {
    return this.#answer(() => ring.ringAnswer(this.#ring, id, key, 0))
  }

  /** setkey succeeds, requests wait until `release`. */
  hold(id: bigint): boolean {
    return this.#answer(() => ring.ringAnswer(this.#ring, id, 0, 1))
  }

  /** As `serve`, for a key that was held. */
  release(id: bigint, key: VolumeHandle): boolean {
    return this.#answer(() => ring.ringRelease(this.#ring, id, key, 0))
  }

  /** setkey fails with this errno. */
  refuse(id: bigint, errno: number): boolean {
    return this.#answer(() => ring.ringAnswer(this.#ring, id, 0, -errno))
  }

  #answer(call: () => void): boolean {
    try {
      call()
      return true
    } catch (error) {
      if (["ENOENT", "ESHUTDOWN"].includes((error as NodeJS.ErrnoException).code ?? "")) return false
      throw error
    }
  }

  counters(): RingCounters {
    if (this.#last !== null) return this.#last
    const { batches, blocks, bytes, failures } = ring.ringCounters(this.#ring)
    return { batches: Number(batches), blocks: Number(blocks), bytes: Number(bytes), failures: Number(failures) }
  }

  /** Threads end; what was not dropped waits for the next daemon. */
  stop(): void {
    if (this.#last !== null) return
    this.#last = this.counters()
    ring.ringStop(this.#ring)
  }
}

export function isLoaded(): boolean {
  return existsSync(DEVICE)
}
