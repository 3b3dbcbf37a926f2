/**
 * The addon's functions, typed. The only file that loads it. Unless said
 * otherwise they throw an Error whose `code` is SGX_<CHECK>, an errno's name or
 * ERR_INVALID_ARG_TYPE.
 */
import { createRequire } from "node:module"
import type { Backend } from "../abi/enclave.ts"
import { Exit, type ExitCode, TresorError } from "../base/errors.ts"
import { installed } from "../base/installation.ts"

/** What CPUID says of SGX, whatever the kernel made of it. */
export interface SgxCpu {
  readonly sgx: boolean
  /** The signer's hash can be written; the BIOS may still lock it. */
  readonly launchControl: boolean
  /** Pages can be added to a running enclave. */
  readonly sgx2: boolean
  /** EPC, bytes; 0 also where the BIOS has it switched off. */
  readonly epcBytes: number
}

/** Kind of memory each region lies in: "EPC", "memfd_secret", "mlock" or "plain"; the weakest there has been so far. */
export interface MemoryKinds {
  /** The image's data and its threads' stacks. */
  readonly keys: string
  /** Outside the image: where a signal or the emulator saves the enclave's registers. */
  readonly stacks: string
  /** Passphrases, slot keys, memory of a KDF. */
  readonly heap: string
}

/**
 * Whole sectors between a file and memory, many in one entry, as far as that
 * does not wait for a disk: see addon/io/sectors.c for the table, and
 * src/volume/sector-batch.ts. Both return 0, or the status of an entry that
 * failed: then no row is valid.
 */
export interface FileSectors {
  read(buffer: ArrayBuffer, table: Float64Array, rows: number): number
  write(buffer: ArrayBuffer, table: Float64Array, rows: number): number
  /** A write that was late has not ended. */
  writing(): boolean
}

export interface NativeEnclaveOptions {
  readonly backend: Backend
  /** ELRANGE, bytes: a power of two. */
  readonly size: bigint
  /** Pages. */
  readonly ssaFrameSize: number
  readonly miscSelect: number
  /** ATTRIBUTES.FLAGS. */
  readonly attributes: bigint
  readonly xfrm: bigint
  /** Software backend: TSC cycles burnt per entry and exit together. */
  readonly transitionCycles: number
  /** Software backend: 32 bytes, wiped by the call; else null. */
  readonly machineSecret: Uint8Array | null
}

/** SDM 3D. In order: addPages and reserve, init, then enter. */
export interface NativeEnclave {
  /**
   * EADD and EEXTEND of whole pages; `size` beyond `data` is zero.
   * `secinfoFlags`: R1 W2 X4 | page type << 8.
   */
  addPages(offset: number, size: number, data: Uint8Array, secinfoFlags: number, measure: boolean): void
  /** A range the enclave may grow into (EAUG), once. */
  reserve(offset: number, size: number): void
  /** EINIT. `enclu`: offset of the image's one ENCLU instruction. */
  init(sigstruct: Uint8Array, enclu: number): void
  /**
   * Enters on this thread with a struct of abi/enclave.h, 8-byte aligned.
   * Returns enum tresor_status, or 0xffffffff when the enclave is lost. TRESOR_E_DEAD
   * ends the enclave too.
   */
  enter(request: Uint8Array): number
  /** The same on a thread of the pool. `request` must not be touched meanwhile. */
  enterAsync(request: Uint8Array): Promise<number>
  /** Gives the memory of the dynamic range back. No KDF may be running. */
  trimHeap(): void
  /** Wipes the enclave, as soon as no thread is inside. */
  destroy(): void
  /** From init until a fault inside, TRESOR_E_DEAD or destroy. Then its memory is wiped and unmapped. */
  readonly alive: boolean
  /** What the CPU reported when the enclave was lost, one clause; null while it is not, or when nothing is known. */
  readonly fault: string | null
  /** Final once `init` was called, whether it succeeded or not. */
  readonly mrenclave: Uint8Array
  readonly mrsigner: Uint8Array
  /**
   * Where secrets are: "EPC", "memfd_secret", "mlock" or "plain"; the weakest of each kind that there
   * has been since init. `trimHeap` may get a weaker heap than there was.
   */
  readonly memory: MemoryKinds
  /** Bytes of the dynamic range; 0n when the backend cannot add pages. */
  readonly dynamicSize: bigint
}

export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** struct tresor_event of abi/kmod.h. `bytes` are the receiver's to wipe. */
export interface RingEvent {
  readonly type: number
  readonly cookie: number
  readonly id: bigint
  readonly mode: number
  readonly size: number
  readonly flags: number
  readonly bytes: Uint8Array
}

/** An open, attached /dev/tresor/control with one thread per queue. */
export type NativeRing = object & { readonly __ring: true }

/** addon/ring.c. `key` names a key inside the enclave; `handle` is what dm-crypt holds, 32 bytes. */
export interface RingFunctions {
  /**
   * `onEvent("lost")`: the enclave is lost, its requests wait. `"detached"`: the module took this process for
   * dead; a new ring can take the keys up again. `spinUs`: how long a thread watches before it sleeps.
   */
  ringOpen(
    enclave: NativeEnclave,
    queues: number,
    depth: number,
    legacy: boolean,
    spinUs: number,
    onEvent: (event: RingEvent | "lost" | "detached") => void,
  ): NativeRing
  /** Both return how many ciphers hold the handle. `check`: 32 bytes that tell this key from another. */
  ringAdd(ring: NativeRing, handle: Uint8Array, key: number, check: Uint8Array): number
  ringDrop(ring: NativeRing, handle: Uint8Array): number
  /** Of an event; `status` 0, 1 (hold, until ringRelease) or a negative errno. ENOENT: nobody waits any more. */
  ringAnswer(ring: NativeRing, id: bigint, key: number, status: number, check: Uint8Array): void
  ringRelease(ring: NativeRing, id: bigint, key: number, status: number, check: Uint8Array): void
  /** Zeros under `key`, encrypted as a request of the kernel's would be. `mode`: TRESOR_KMODE_*. */
  ringProbe(ring: NativeRing, key: number, mode: number, length: number, sector: bigint): Uint8Array
  ringCounters(ring: NativeRing): {
    readonly batches: bigint
    readonly blocks: bigint
    readonly bytes: bigint
    readonly failures: bigint
  }
  /** What was not dropped waits for the next daemon. */
  ringStop(ring: NativeRing): void
}

interface Addon extends RingFunctions {
  createEnclave(options: NativeEnclaveOptions): NativeEnclave
  createSectors(enclave: NativeEnclave, handle: number, fd: number): FileSectors
  addressOf(bytes: Uint8Array): bigint
  cpuFeatures(): number
  sgxCpu(): SgxCpu
  flock(fd: number, exclusive: boolean, nonblocking: boolean): boolean
  duplicate(fd: number): number
  socketPair(): [number, number]
  exitNow(code: number): never
  trimHeap(): void
  hardenProcess(name: string): HardenedProcess
  notifySystemd(text: string): boolean
  sendDatagram(path: string, text: string): boolean
  peerCredentials(fd: number): PeerCredentials
  readPassphrase(prompt: string, limit: number, timeoutSeconds: number, echo: boolean): Promise<Uint8Array>
  restoreTerminal(): void
  secretMemoryFault(): string | null
  unblockSigusr1(): void
}

export interface HardenedProcess {
  /** Others of this user could read it until now. */
  readonly wasDumpable: boolean
  /** PID of the process that traces this one; 0: none, -1: cannot be told. */
  readonly tracer: number
}

/** For the modules that type further functions of the addon themselves. */
export const addon = createRequire(import.meta.url)(installed("addon/build/Release/tresor.node")) as Addon

/** The kernel's queues; src/mapping/attach.ts is the way to them. */
export const ring: RingFunctions = addon

/** ECREATE. */
export const createEnclave = (options: NativeEnclaveOptions): NativeEnclave => addon.createEnclave(options)

/** addon/io/sectors.c. */
export const createSectors = (enclave: NativeEnclave, handle: number, fd: number): FileSectors =>
  addon.createSectors(enclave, handle, fd)

/** Address of the first byte. The caller keeps the ArrayBuffer alive. */
export const addressOf = (bytes: Uint8Array): bigint => addon.addressOf(bytes)

/** CPUID, whatever the kernel made of it. */
export const sgxCpu = (): SgxCpu => addon.sgxCpu()

/** TRESOR_CPU_* of abi/enclave.h: what the CPU has and the kernel keeps the registers of. */
export const cpuFeatures = (): number => addon.cpuFeatures()

/**
 * flock(2), released when the file is closed. False: held by somebody else,
 * when it was not to wait. Waiting blocks this thread.
 */
export function flock(fd: number, mode: "exclusive" | "shared", { wait = true } = {}): boolean {
  return addon.flock(fd, mode === "exclusive", !wait)
}

/** Not dumpable, hence not traceable by its own user either, and no core file; `name` is what ps shows. */
/** Ends the process at once, without waiting for a thread inside the enclave. */
export const exitNow = (code: number): never => addon.exitNow(code)

/** Free memory of the C heap goes back to the system: about 2 MiB after a start. Takes a millisecond. */
export const trimHeap = (): void => addon.trimHeap()
export const hardenProcess = (name: string): HardenedProcess => addon.hardenProcess(name)

/** Why there is no memfd_secret(2): ENOSYS, the kernel; EPERM, a seccomp filter; `null`: there is. */
export const secretMemoryFault = (): string | null => addon.secretMemoryFault()

/** Delivers SIGUSR1 from now on. Call it once somebody listens: the default ends the process. */
export const unblockSigusr1 = (): void => addon.unblockSigusr1()

/** sd_notify(3): one datagram to $NOTIFY_SOCKET. False when there is none. */
export const notifySystemd = (text: string): boolean => addon.notifySystemd(text)

/** One datagram to a Unix socket, without waiting for its receiver. False when it was not taken. */
export const sendDatagram = (path: string, text: string): boolean => addon.sendDatagram(path, text)

/** A descriptor of the same open file, the caller's. */
export const duplicate = (fd: number): number => addon.duplicate(fd)

/** Two connected stream sockets, the caller's. */
export const socketPair = (): [number, number] => addon.socketPair()

/** SO_PEERCRED of a connected Unix socket. */
export const peerCredentials = (fd: number): PeerCredentials => addon.peerCredentials(fd)

/** Ends the silence after readPassphrase. */
export const restoreTerminal = (): void => addon.restoreTerminal()

const REFUSALS = {
  ETIMEDOUT: [Exit.badArguments, "no passphrase was typed in time"],
  EMSGSIZE: [Exit.badArguments, "it is too long; use --key-file for more than 512 bytes"],
  ENODATA: [Exit.badArguments, "the terminal gave none"],
  ENXIO: [Exit.badArguments, "no terminal is available; use --key-file"],
  EINTR: [Exit.denied, "interrupted"],
  ERR_INVALID_ARG_TYPE: [Exit.badArguments, "it was asked for with wrong arguments"],
} as const satisfies Readonly<Record<string, readonly [ExitCode, string]>>

/**
 * One line from the controlling terminal. Echo is off unless `echo`, and stays
 * off until the next prompt or restoreTerminal(): what is typed meanwhile may
 * be a passphrase too. The bytes are in locked
 * memory, without the newline, at most `limit` of them; they are the caller's
 * to wipe, and wiped when collected. `timeoutSeconds` 0: no limit.
 * Throws TresorError PASSPHRASE_<ERRNO>.
 */
export async function readPassphrase(
  prompt: string,
  limit: number,
  timeoutSeconds: number,
  echo = false,
): Promise<Uint8Array> {
  try {
    return await addon.readPassphrase(prompt, limit, timeoutSeconds, echo)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const known = code !== undefined && Object.hasOwn(REFUSALS, code) ? (code as keyof typeof REFUSALS) : "FAILED"
    const [exitCode, fact] = known === "FAILED" ? [Exit.badArguments, message] : REFUSALS[known]
    throw new TresorError(`PASSPHRASE_${known}`, exitCode, `Cannot read the passphrase: ${fact}`, { cause: error })
  }
}
