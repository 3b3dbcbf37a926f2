/** The hardware backend of the addon on a driver and a CPU made for tests (addon/test/fake.h). */
import { createRequire } from "node:module"
import { installed } from "../base/installation.ts"
import { createEnclave, type NativeEnclave, type NativeEnclaveOptions } from "../native/addon.ts"

/** errno values of Linux, for Wrong. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  ENODEV: 19,
  ENOTTY: 25,
} as const
/** What the vDSO returns when it cannot enter. */
export const EFAULT = -14

/** What goes wrong; what is not named goes well. Errnos are thrown by the call they name. */
export interface Wrong {
  readonly openErrno?: number
  readonly createErrno?: number
  readonly addErrno?: number
  /** Calls of ADD_PAGES that succeed before `addErrno`. */
  readonly addAfter?: number
  readonly initErrno?: number
  readonly mapErrno?: number
  /** What the SGX2 calls say with `noSgx2`; ENODEV when absent. */
  readonly probeErrno?: number
  /** Returned by the vDSO in place of an entry. */
  readonly enterResult?: number
  /** Pages by which ADD_PAGES says it added more than it did. */
  readonly overCount?: number
  /** Calls that first end in EINTR or EAGAIN by turns, with nothing done. */
  readonly interruptOpen?: number
  readonly interruptCreate?: number
  readonly interruptAdd?: number
  readonly interruptInit?: number
  readonly interruptMap?: number
  /** A signal comes while every so many-th page is added. */
  readonly signalEvery?: number
  /** 1: it comes while that page waits for EPC, where the driver does not count what it has done. */
  readonly epcFull?: number
  /** 1: its handler has SA_RESTART, so that Linux makes the call again. */
  readonly restart?: number
  /** 1: no mapping may be executed (/dev mounted noexec). */
  readonly noExec?: number
  readonly noVdso?: number
  readonly noSgx2?: number
  /** What CPUID lets an enclave have in XFRM; 0xe7 when absent. */
  readonly xfrm?: number
  /** Of the largest enclave, as CPUID has it; 36 when absent. */
  readonly sizeBits?: number
  /** How often the CPU's microcode was updated: CPUSVN grows. */
  readonly microcodeUpdates?: number
}

interface FakeSgx {
  createEnclave(options: NativeEnclaveOptions): NativeEnclave
  /** Replaces what `configure` said before. */
  configure(wrong: Wrong): void
  /** Since the last call, but `open`: devices open now. */
  counters(): Readonly<Record<"open" | "addCalls" | "pages" | "initCalls" | "entries", number>>
  /**
   * As a suspend: the EPC of every enclave is gone, with threads inside or not.
   * `swapped`: its pages had been swapped out, and cannot be loaded again.
   */
  lose(swapped?: boolean): void
  /**
   * Keeps the page at an address of this process, whatever becomes of the mapping: a file descriptor
   * that will read as what is in the page then. -1 when the kernel does not lend it (memfd_secret).
   */
  hold(address: bigint): number
  /** Whether the addon's reader of the vDSO finds a function in this kernel's. */
  vdsoHas(name: string): boolean
}

export const fake = createRequire(import.meta.url)(installed("addon/build/Release/tresor_fake.node")) as FakeSgx

/** In place of createEnclave: the same enclave by /dev/sgx_enclave. */
export function createFake(options: NativeEnclaveOptions): NativeEnclave {
  return fake.createEnclave({ ...options, backend: "sgx", machineSecret: null })
}

/** Where the image runs in tests. */
export const BACKENDS = [
  { backend: "software", create: createEnclave },
  { backend: "sgx", create: createFake },
] as const
