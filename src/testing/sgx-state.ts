import type { SgxMachine } from "../enclave/sgx-state.ts"
import type { SgxCpu } from "../native/addon.ts"

interface Parts {
  readonly devices?: readonly string[]
  readonly accessible?: boolean
  /** Of /proc/cpuinfo. */
  readonly flags?: string
  readonly vendor?: string
  readonly kernel?: string
  readonly cpu?: Partial<SgxCpu>
}

const NONE: SgxCpu = { sgx: false, launchControl: false, sgx2: false, epcBytes: 0 }

/** A machine with everything but the device; `cpu: {}`: without SGX. */
export function sgxMachine(parts: Parts): SgxMachine {
  const { devices = [], accessible = false, flags = "sgx sgx_lc", vendor = "GenuineIntel", kernel = "6.1.0" } = parts
  const all = { sgx: true, launchControl: true, sgx2: true, epcBytes: 128 << 20 }
  const cpu = parts.cpu === undefined || Object.keys(parts.cpu).length > 0 ? { ...all, ...parts.cpu } : NONE
  return {
    read: (path) => (path === "/proc/cpuinfo" ? `vendor_id\t: ${vendor}\nflags\t\t: fpu ${flags}\n` : null),
    exists: (path) => devices.includes(path),
    accessible: () => accessible,
    sgxCpu: cpu,
    kernel,
  }
}
