/** What of SGX this machine has, and what that allows. */

import { formatSize } from "../../base/size.ts"
import { atLeast, LAUNCH_CONTROL_REMEDY, SGX_DEVICE, sgxState } from "../../enclave/sgx-state.ts"
import type { EnclaveIdentity } from "../../enclave/types.ts"
import type { DoctorCheck } from "./check.ts"
import { cpuFacts, type Machine } from "./machine.ts"

/** Memory of Argon2 as cryptsetup chooses it, where it can. */
const CRYPTSETUPS_KIB = 1 << 20

export function sgxChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  const { flags, model } = cpuFacts(machine)
  const sgx = flags.has("sgx")
  const { sgxCpu } = machine
  const state = sgxState(machine)
  const device = state.device !== "absent"
  const checks: DoctorCheck[] = [
    {
      id: "sgx-cpu",
      name: "SGX in this processor",
      state: sgx ? "yes" : "no",
      found: sgx
        ? model
        : `${model || "unknown processor"}: ${sgxCpu.sgx ? "it has SGX, but the kernel does not use it" : "the kernel sees no SGX"}`,
      means: sgx
        ? "the enclave can run in hardware"
        : "backend software: keys stay out of dumps and swap, but not out of reach of an active root, the kernel, DMA or cold boot",
      remedy: sgx || device ? null : state.remedy,
    },
  ]
  if (!state.sgx) return checks
  const flc = flags.has("sgx_lc")
  const usable = state.device === "ready"
  const perNode = machine
    .list("/sys/devices/system/node")
    .filter((node) => /^node\d+$/.test(node))
    .map((node) => Number(machine.read(`/sys/devices/system/node/${node}/x86/sgx_total_bytes`) ?? 0))
    .reduce((sum, each) => sum + each, 0)
  // Linux has told it since 5.17.
  const bytes = perNode > 0 ? perNode : sgxCpu.epcBytes
  const linux = atLeast(machine.kernel, 6, 0)
  // What an enclave that was just started got stands above what processor and kernel should be able to.
  const started = identity instanceof Error || identity.backend !== "sgx" ? null : identity.kdfMemoryKib
  const dynamic = started === null ? linux && sgxCpu.sgx2 : started >= CRYPTSETUPS_KIB
  checks.push(
    {
      id: "sgx-flc",
      name: "flexible launch control",
      state: flc ? "yes" : "no",
      found: flc
        ? "the processor accepts any signer"
        : sgxCpu.launchControl
          ? "locked by the BIOS, or SGX is disabled there"
          : "absent in this processor",
      means: flc ? "our own signature launches the enclave" : "Linux does not offer /dev/sgx_enclave without it",
      remedy: flc || !sgxCpu.launchControl ? null : LAUNCH_CONTROL_REMEDY,
    },
    {
      id: "sgx-driver",
      name: "SGX driver",
      state: device ? "yes" : "no",
      found: device ? SGX_DEVICE : state.found,
      means: device ? "enclaves can be created" : "backend software is used",
      remedy: device ? null : state.remedy,
    },
    {
      id: "sgx-permission",
      name: "permission for the SGX device",
      state: usable ? "yes" : device ? "no" : "info",
      found: usable ? "readable and writable" : device ? "access denied" : "no device",
      means: usable
        ? "this user can run enclaves"
        : device
          ? "`--backend auto` takes SGX and is refused: it never falls back to software by itself"
          : "backend software is used",
      remedy: device ? state.remedy : null,
    },
    {
      id: "sgx-epc",
      name: "enclave page cache",
      state: bytes >= 128 << 20 ? "yes" : "info",
      found: bytes === 0 ? "size unknown" : formatSize(bytes),
      means: "the memory of an Argon2 keyslot should fit; a larger one is paged and slow",
      remedy: bytes >= 128 << 20 || bytes === 0 ? null : "raise the PRMRR size in the BIOS set-up",
    },
    {
      id: "sgx2",
      name: "dynamic enclave memory (SGX2)",
      state: dynamic ? "yes" : "info",
      found:
        started !== null
          ? `the enclave that was just started has ${formatSize(started * 1024)} for a KDF`
          : !linux
            ? `Linux ${machine.kernel} does not support it`
            : dynamic
              ? "supported by the processor and Linux"
              : "this processor has SGX1 only",
      means:
        "with it, a keyslot with cryptsetup's default of 1 GiB for Argon2 opens; without it, keyslots up to the size of the fixed heap",
      remedy: linux ? null : "run Linux 6.0 or newer",
    },
  )
  const aesm = ["/var/run/aesmd/aesm.socket", "/run/aesmd/aesm.socket"].some((path) => machine.exists(path))
  const pccs = machine.exists("/etc/sgx_default_qcnl.conf")
  checks.push(
    {
      id: "aesmd",
      name: "aesmd",
      state: aesm ? "yes" : "info",
      found: aesm ? "its socket exists" : "no socket",
      means: aesm
        ? "quotes for remote attestation can be made"
        : "`tresor attest show` cannot make a quote; local use does not need one",
      remedy: aesm ? null : "install Intel's sgx-aesm-service and libsgx-aesm-quote-ex-plugin",
    },
    {
      id: "pccs",
      name: "PCCS",
      state: pccs ? "yes" : "info",
      found: pccs ? "/etc/sgx_default_qcnl.conf" : "not set up",
      means: "source of certificates for quotes",
      remedy: pccs ? null : "set PCCS_URL in /etc/sgx_default_qcnl.conf",
    },
  )
  return checks
}
