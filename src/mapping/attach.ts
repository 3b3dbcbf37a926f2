/** /dev/tresor/control as a daemon sees it (abi/kmod.h), through the threads of addon/ring.c. */
import { createHash } from "node:crypto"
import { existsSync, statSync } from "node:fs"
import { availableParallelism } from "node:os"
import { Mode } from "../abi/enclave.ts"
import { ANSWER_HELD, CHECK_SIZE, EVENT_AGAIN, EventType } from "../abi/kmod.ts"
import { exitOfErrno } from "../base/errno.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { EnclaveClient } from "../enclave/client.ts"
import type { BlockMode, Enclave, VolumeHandle } from "../enclave/types.ts"
import { type NativeRing, ring } from "../native/addon.ts"

export const DEVICE = "/dev/tresor/control"

/** The node itself up to version 2 of abi/kmod.h; now a directory, where links of volumes lie too. */
const FORMER_DEVICE = "/dev/tresor"

/** The kernel's modes have the enclave's numbers. */
const MODES = new Map<number, BlockMode>(Object.entries(Mode).map(([mode, number]) => [number, mode as BlockMode]))

const NO_CHECK = new Uint8Array(CHECK_SIZE)

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
  readonly id: bigint
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
  /**
   * Called once, and not after `onLost`: the module took this process for dead
   * while it stood still. Its keys live; another ring may serve them again.
   */
  readonly onDetached: () => void
}

/** One sector as dm-crypt asks for it: its bytes, and the number in its IV. */
export interface ProbeSector {
  readonly length: number
  readonly sector: bigint
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

export const OTHER_VERSION =
  "the loaded tresor.ko is of another version; `tresor kernel unload`, `install` and `load` replace it"

function attachError(error: unknown): TresorError {
  const errno = (error as NodeJS.ErrnoException).code
  // FORMER_DEVICE is a node: the module is older than this program.
  const code = errno === "ENOTDIR" ? "EPROTO" : errno
  const reasons = {
    ENOENT: `${DEVICE} does not exist; load the module with \`tresor kernel load\``,
    EACCES: `${DEVICE} is root's alone; run as root`,
    EPERM: `${DEVICE} asks for CAP_SYS_ADMIN; run as root`,
    EBUSY: "another legacy daemon is attached; `tresor close legacy` ends it",
    EPROTO: OTHER_VERSION,
    ENOMEM: "its memory cannot be locked; raise RLIMIT_MEMLOCK or run as root",
  }
  const known = code !== undefined && Object.hasOwn(reasons, code) ? (code as keyof typeof reasons) : "FAILED"
  const reason = known === "FAILED" ? (error as Error).message : reasons[known]
  return new TresorError(
    `ATTACH_${known}`,
    exitOfErrno(code, Exit.wrongDevice),
    `Cannot attach to tresor.ko: ${reason}`,
  )
}

/** Legacy keys belong to no segment. */
const LEGACY_PROBE: ProbeSector = { length: 512, sector: 0n }

function rejected(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== "EKEYREJECTED") return error
  return new TresorError(
    "KEY_REJECTED",
    Exit.denied,
    "Cannot serve the mapping: it was written with another key than this passphrase gives; give the one it was made with, or remove the mapping first",
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
    let ended = false
    const end = (tell: () => void) => {
      if (!ended && this.#last === null) tell()
      ended = true
    }
    try {
      this.#ring = ring.ringOpen(
        enclave.native,
        queues,
        options.depth ?? 256,
        options.legacy === true,
        SPIN_US,
        (event) => {
          if (event === "lost") {
            end(options.onLost)
          } else if (event === "detached") {
            end(options.onDetached)
          } else if (event.type === EventType.setkey) {
            const { id, size } = event
            const mode = MODES.get(event.mode)
            if (mode === undefined) return
            const bytes = (event.flags & EVENT_AGAIN) === 0 ? event.bytes : null
            options.onEvent?.({ type: "setkey", id, mode, size, bytes })
          } else {
            options.onEvent?.({ type: "forget", id: event.id })
          }
        },
      )
    } catch (error) {
      throw attachError(error)
    }
  }

  /**
   * What the module tells one key from another by, so that none takes over what
   * another wrote: a digest of known data, encrypted the way requests will be.
   */
  #check(key: VolumeHandle, mode: BlockMode, { length, sector }: ProbeSector): Uint8Array {
    return createHash("sha256")
      .update(`tresor check ${mode}\n`)
      .update(ring.ringProbe(this.#ring, key, Mode[mode], length, sector))
      .digest()
  }

  /**
   * Requests under `handle` are `key`'s from here on. Returns how many ciphers
   * hold the handle already. Throws KEY_REJECTED when another key served it before.
   */
  add(handle: Uint8Array, key: VolumeHandle, first: ProbeSector): number {
    try {
      return ring.ringAdd(this.#ring, handle, key, this.#check(key, "xts", first))
    } catch (error) {
      throw rejected(error)
    }
  }

  /** The handle is dead: -ENOKEY. Nothing happens when it is somebody else's by now, or nobody's. */
  drop(handle: Uint8Array): void {
    this.#answer(() => void ring.ringDrop(this.#ring, handle))
  }

  /** False: nobody waits for it any more, the key is to be wiped. Throws KEY_REJECTED as `add` does. */
  serve(id: bigint, key: VolumeHandle, mode: BlockMode): boolean {
    const check = this.#check(key, mode, LEGACY_PROBE)
    return this.#answer(() => ring.ringAnswer(this.#ring, id, key, 0, check))
  }

  /** setkey succeeds, requests wait until `release`. */
  hold(id: bigint): boolean {
    return this.#answer(() => ring.ringAnswer(this.#ring, id, 0, ANSWER_HELD, NO_CHECK))
  }

  /** As `serve`, for a key that was held. */
  release(id: bigint, key: VolumeHandle, mode: BlockMode): boolean {
    const check = this.#check(key, mode, LEGACY_PROBE)
    return this.#answer(() => ring.ringRelease(this.#ring, id, key, 0, check))
  }

  /** setkey fails with this errno. */
  refuse(id: bigint, errno: number): boolean {
    return this.#answer(() => ring.ringAnswer(this.#ring, id, 0, -errno, NO_CHECK))
  }

  #answer(call: () => void): boolean {
    try {
      call()
      return true
    } catch (error) {
      if (["ENOENT", "ESHUTDOWN"].includes((error as NodeJS.ErrnoException).code ?? "")) return false
      throw rejected(error)
    }
  }

  get stopped(): boolean {
    return this.#last !== null
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

/** What is to be seen of the module's node; "former": it is where it was up to version 2. */
export function moduleNode(): "present" | "former" | "absent" {
  if (existsSync(DEVICE)) return "present"
  return statSync(FORMER_DEVICE, { throwIfNoEntry: false })?.isCharacterDevice() === true ? "former" : "absent"
}
