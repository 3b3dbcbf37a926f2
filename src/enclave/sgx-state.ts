/**
 * Whether this machine can run the enclave in hardware, and what is missing where it cannot. `--backend
 * auto`, the errors of a refused start and `tresor doctor` all say what is decided here. Pure.
 */

import type { SgxCpu } from "../native/addon.ts"

/** What is looked at. */
export interface SgxMachine {
  /** Contents of a file, or null. */
  read(path: string): string | null
  exists(path: string): boolean
  /** Whether this user may read and write it. */
  accessible(path: string): boolean
  readonly sgxCpu: SgxCpu
  /** `uname -r`. */
  readonly kernel: string
}

export const SGX_DEVICE = "/dev/sgx_enclave"

/** Devices of Intel's drivers from before Linux had one: other calls, and launch tokens in the second. */
const OLD_DEVICES = ["/dev/sgx/enclave", "/dev/isgx"]

export interface SgxState {
  /** "denied": there, but not for this user. */
  readonly device: "ready" | "denied" | "absent"
  /** Whether the processor has SGX, or somebody once set it up. */
  readonly sgx: boolean
  readonly found: string
  /** null: nothing to do. */
  readonly remedy: string | null
}

export function atLeast(kernel: string, major: number, minor: number): boolean {
  const [has = 0, and = 0] = kernel.split(".").map((part) => Number.parseInt(part, 10))
  return has > major || (has === major && and >= minor)
}

/** What /proc/cpuinfo has. Linux takes `sgx` away when the BIOS has locked launch control or switched SGX off. */
function cpuField(machine: Pick<SgxMachine, "read">, name: string): string {
  return new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(machine.read("/proc/cpuinfo") ?? "")?.[1]?.trim() ?? ""
}

export const LAUNCH_CONTROL_REMEDY =
  "in the BIOS set-up enable SGX and set its launch control policy to unlocked: Linux's driver takes no locked one"

function whyAbsent(machine: SgxMachine): Omit<SgxState, "device"> {
  const { sgxCpu, kernel } = machine
  const found = `no ${SGX_DEVICE}`
  const old = OLD_DEVICES.find((path) => machine.exists(path))
  if (old !== undefined) {
    return {
      sgx: true,
      found: `${found}, but ${old} of Intel's old driver, which Tresor cannot use`,
      remedy: `remove that driver; Linux 5.11 or newer with CONFIG_X86_SGX has its own`,
    }
  }
  const flags = new Set(cpuField(machine, "flags").split(" "))
  if (!sgxCpu.sgx && !flags.has("sgx")) {
    const intel = cpuField(machine, "vendor_id") === "GenuineIntel"
    return {
      sgx: false,
      found: `${found}: this processor shows no SGX`,
      remedy: intel
        ? "look for SGX in the BIOS set-up (Security, or Processor); processors of Xeon Scalable generation 3 and later have it"
        : "only Intel processors have SGX",
    }
  }
  if (!atLeast(kernel, 5, 11)) {
    return {
      sgx: true,
      found: `${found}: Linux ${kernel} has no SGX driver`,
      remedy: "run Linux 5.11 or newer with CONFIG_X86_SGX",
    }
  }
  if (!sgxCpu.launchControl) {
    return {
      sgx: true,
      found: `${found}: this processor has no flexible launch control, which Linux's driver needs`,
      remedy: "no setting helps; processors since about 2018 have it",
    }
  }
  if (!flags.has("sgx") || !flags.has("sgx_lc")) {
    return {
      sgx: true,
      found: `${found}: the BIOS has locked launch control or switched SGX off`,
      remedy: LAUNCH_CONTROL_REMEDY,
    }
  }
  return {
    sgx: true,
    found: `${found}: this kernel is built without its driver`,
    remedy: "run a kernel with CONFIG_X86_SGX=y",
  }
}

export function sgxState(machine: SgxMachine): SgxState {
  if (!machine.exists(SGX_DEVICE)) return { device: "absent", ...whyAbsent(machine) }
  if (machine.accessible(SGX_DEVICE)) return { device: "ready", sgx: true, found: SGX_DEVICE, remedy: null }
  return {
    device: "denied",
    sgx: true,
    found: `${SGX_DEVICE}, which this user may not open`,
    remedy:
      "add the user to its group (usermod -aG sgx USER; the group is what ls -l shows) and log in again, " +
      "or choose --backend software",
  }
}
