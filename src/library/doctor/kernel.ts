/** What the processor and the kernel have besides SGX: AES, io_uring, the drivers that exports and mounts need. */

import { join } from "node:path"
import { formatSize } from "../../base/size.ts"
import { atLeast } from "../../enclave/sgx-state.ts"
import type { DoctorCheck } from "./check.ts"
import { cpuFacts, type Machine } from "./machine.ts"

/** A driver built in, loaded, or lying there as a module. */
function driver(machine: Machine, name: string): "loaded" | "module" | null {
  const underscored = name.replaceAll("-", "_")
  if (machine.exists(`/sys/module/${underscored}`)) return "loaded"
  const folder = `/lib/modules/${machine.kernel}`
  const builtin = machine.read(join(folder, "modules.builtin")) ?? ""
  if (new RegExp(`/${name}\\.ko`, "m").test(builtin)) return "loaded"
  return new RegExp(`/${name}\\.ko`, "m").test(machine.read(join(folder, "modules.dep")) ?? "") ? "module" : null
}

/** How to make io_uring available. */
function ringRemedy(fault: string | null): string | null {
  if (fault === "ENOSYS") return "a kernel built with CONFIG_IO_URING"
  if (fault !== "EPERM") return null
  return "sysctl kernel.io_uring_disabled=0, or allow it in the seccomp filter of the container or unit"
}

export function kernelChecks(machine: Machine): DoctorCheck[] {
  const { flags } = cpuFacts(machine)
  const limit = /^Max locked memory\s+(\S+)/m.exec(machine.read("/proc/self/limits") ?? "")?.[1] ?? "unknown"
  const aes = flags.has("aes")
  const wide = flags.has("vaes") ? (flags.has("avx512f") ? "VAES with 512 bits" : "VAES with 256 bits") : "AES-NI"
  const ublkDriver = driver(machine, "ublk_drv")
  const recent = atLeast(machine.kernel, 6, 5)
  const ublk = ublkDriver !== null && recent && machine.ringFault === null
  const nbd = driver(machine, "nbd")
  const nbdClient = machine.has("nbd-client")
  const fuse = machine.exists("/dev/fuse")
  const nbdfuse = machine.has("nbdfuse")
  const loop = machine.exists("/dev/loop-control") || driver(machine, "loop") !== null
  const crypt = driver(machine, "dm-crypt")
  const module = machine.exists("/sys/module/tresor")
  return [
    {
      id: "aes",
      name: "AES instructions",
      state: aes ? "yes" : "no",
      found: aes ? wide : "none",
      means: aes ? "constant-time encryption at full speed" : "Tresor cannot run: it uses no table-based AES",
      remedy: aes ? null : "most processors since 2011 have them; look for AES-NI in the BIOS set-up",
    },
    {
      id: "memlock",
      name: "RLIMIT_MEMLOCK",
      state: limit === "unlimited" || Number(limit) >= 64 << 20 ? "yes" : "info",
      found: limit === "unlimited" || limit === "unknown" ? limit : formatSize(Number(limit)),
      means: "memfd_secret and locked memory count against it; memory beyond it is not locked, and `status` says so",
      remedy:
        limit === "unlimited" || Number(limit) >= 64 << 20
          ? null
          : "raise it: LimitMEMLOCK=infinity in the unit, or /etc/security/limits.conf",
    },
    {
      id: "io_uring",
      name: "io_uring",
      state: machine.ringFault === null ? "yes" : "info",
      found: machine.ringFault === null ? "available" : `refused (${machine.ringFault})`,
      means:
        machine.ringFault === null
          ? "reads that wait for a disk are under way together, at any depth"
          : "threads read from the disk, at most eight at once: slower at depth, otherwise the same",
      remedy: ringRemedy(machine.ringFault),
    },
    {
      id: "ublk",
      name: "ublk",
      state: ublk ? "yes" : "info",
      found:
        ublkDriver === null ? "not in this kernel" : recent ? ublkDriver : `${ublkDriver}, of Linux ${machine.kernel}`,
      means: ublk
        ? "`tresor open --block` makes a block device, and `tresor mount` uses it"
        : "`tresor mount` uses the kernel's NBD driver, or nbdfuse and a loop device",
      remedy: ublk
        ? null
        : machine.ringFault !== null && ublkDriver !== null && recent
          ? ringRemedy(machine.ringFault)
          : "a kernel of Linux 6.5 or newer with ublk_drv",
    },
    {
      id: "nbd",
      name: "kernel NBD driver",
      state: nbd !== null && nbdClient ? "yes" : "info",
      found: nbd === null ? "not in this kernel" : nbdClient ? nbd : `${nbd}, but nbd-client is not installed`,
      means:
        nbd !== null && nbdClient
          ? "`tresor mount` uses it where there is no ublk"
          : "`tresor mount` uses nbdfuse and a loop device",
      remedy: nbd === null ? null : nbdClient ? null : "install nbd-client",
    },
    {
      id: "fuse",
      name: "FUSE and nbdfuse",
      state: fuse && nbdfuse ? "yes" : nbd !== null ? "info" : "no",
      found: !fuse ? "no /dev/fuse" : nbdfuse ? "available" : "/dev/fuse, but nbdfuse is not installed",
      means:
        fuse && nbdfuse
          ? "a volume can be mounted as a file without root"
          : "`tresor mount` needs the kernel's NBD driver",
      remedy: fuse ? (nbdfuse ? null : "install libnbd-bin and fuse3") : "modprobe fuse",
    },
    {
      id: "loop",
      name: "loop devices",
      state: loop ? "yes" : "info",
      found: loop ? "available" : "none",
      means: "`tresor mount` needs them on top of nbdfuse",
      remedy: loop ? null : "modprobe loop",
    },
    {
      id: "dm-crypt",
      name: "dm-crypt",
      state: crypt !== null ? "yes" : "info",
      found: crypt ?? "not in this kernel",
      means:
        crypt !== null
          ? "`tresor open --kernel` can map a volume"
          : "`tresor open --kernel` cannot work here; NBD works",
      remedy: crypt !== null ? null : "run a kernel with CONFIG_DM_CRYPT",
    },
    {
      id: "tresor.ko",
      name: "tresor.ko",
      state: module ? "yes" : "info",
      found: module ? "loaded" : "not loaded",
      means: module ? "dm-crypt can use the enclave" : "only `tresor open --kernel` needs it",
      remedy: module || crypt === null ? null : "tresor kernel build && tresor kernel load",
    },
  ]
}
