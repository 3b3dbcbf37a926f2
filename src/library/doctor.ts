/**
 * Examines this machine. Each check says what it found,
 * what that means for a user, and what to do about it.
 */
import { accessSync, constants, readdirSync } from "node:fs"
import { open } from "node:fs/promises"
import { release } from "node:os"
import { join } from "node:path"
import { has } from "../base/programs.ts"
import { formatSize } from "../base/size.ts"
import type { KeptImage } from "../enclave/kept-images.ts"
import { secretFile, stateDir } from "../enclave/machine-secret.ts"
import { type ReleaseSigners, releaseSigners } from "../enclave/release-signers.ts"
import { atLeast, LAUNCH_CONTROL_REMEDY, SGX_DEVICE, type SgxMachine, sgxState } from "../enclave/sgx-state.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import { disksOf } from "../protection/disks.ts"
import { files } from "../protection/files.ts"
import { judge } from "../protection/judge.ts"
import { readMachine } from "../protection/read.ts"
import { keepingIn } from "../protection/secret.ts"
import { describeMemory, placeOf, protection, type SecretKeeping, secretRisk } from "../protection/words.ts"

/** "yes": there; "no": absent, something is worse for it; "info": absent or partial, nothing depends on it here. */
type State = "yes" | "no" | "info"

export interface DoctorCheck {
  readonly id: string
  readonly name: string
  readonly state: State
  readonly found: string
  readonly means: string
  /** null: nothing to do. */
  readonly remedy: string | null
}

/** What the checks look at; tests give a machine of their own. */
export interface Machine extends SgxMachine {
  list(path: string): readonly string[]
  has(program: string): boolean
  /** The machine secret, and the disks it lies on. */
  secret(): { readonly file: string; readonly disks: readonly string[]; readonly keeping: SecretKeeping }
  /** Errno of memfd_secret(2); `null`: it works. */
  readonly secretMemoryFault: string | null
  /** Errno of io_uring(7); `null`: it works. */
  readonly ringFault: string | null
  /** Who holds a release key, by MRSIGNER. */
  readonly signers: ReleaseSigners
  /** Signing keys that an earlier version left here. */
  readonly formerKeys: readonly string[]
  /** Enclave images that are kept, and the open volumes that run or need each. */
  readonly kept: readonly KeptFor[]
}

export interface KeptFor extends Pick<KeptImage, "mrenclave" | "isvSvn" | "folder"> {
  readonly volumes: readonly string[]
}

/** What the addon tells. */
type Asked = "sgxCpu" | "secretMemoryFault" | "ringFault" | "signers" | "formerKeys" | "kept"

const system: Omit<Machine, Asked> = {
  ...files,
  accessible(path) {
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return true
    } catch {
      return false
    }
  },
  list(path) {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  has,
  secret() {
    const file = secretFile(stateDir())
    return { file, disks: disksOf(file), keeping: keepingIn(stateDir()) }
  },
  kernel: release(),
}

function cpuFacts(machine: Machine): {
  readonly model: string
  readonly flags: ReadonlySet<string>
  readonly vendor: string
} {
  const text = machine.read("/proc/cpuinfo") ?? ""
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text)?.[1]?.trim() ?? ""
  return { model: field("model name"), vendor: field("vendor_id"), flags: new Set(field("flags").split(" ")) }
}

/** A driver built in, loaded, or lying there as a module. */
function driver(machine: Machine, name: string): "loaded" | "module" | null {
  const underscored = name.replaceAll("-", "_")
  if (machine.exists(`/sys/module/${underscored}`)) return "loaded"
  const folder = `/lib/modules/${machine.kernel}`
  const builtin = machine.read(join(folder, "modules.builtin")) ?? ""
  if (new RegExp(`/${name}\\.ko`, "m").test(builtin)) return "loaded"
  return new RegExp(`/${name}\\.ko`, "m").test(machine.read(join(folder, "modules.dep")) ?? "") ? "module" : null
}

/** Memory of Argon2 as cryptsetup chooses it, where it can. */
const CRYPTSETUPS_KIB = 1 << 20

function sgxChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
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

function machineChecks(machine: Machine): DoctorCheck[] {
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
  const checks: DoctorCheck[] = [
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
  return checks
}

/** How to make io_uring available. */
function ringRemedy(fault: string | null): string | null {
  if (fault === "ENOSYS") return "a kernel built with CONFIG_IO_URING"
  if (fault !== "EPERM") return null
  return "sysctl kernel.io_uring_disabled=0, or allow it in the seccomp filter of the container or unit"
}

/** How to make memfd_secret(2) available. */
function secretMemoryRemedy(fault: string | null): string {
  if (fault === null) return "raise RLIMIT_MEMLOCK (below): memfd_secret did not get all the memory it needs"
  if (fault === "ENOSYS") return "memfd_secret needs Linux 5.14 or newer, before 6.5 with secretmem.enable=1"
  if (fault === "EPERM") {
    return "a seccomp filter refuses memfd_secret (of a container runtime, or SystemCallFilter=); allow it there"
  }
  return `memfd_secret is refused (${fault})`
}

/** What an earlier enclave sealed needs that enclave once more. */
function keptCheck({ kept }: Machine, { mrenclave: running }: EnclaveIdentity): DoctorCheck {
  const words = ({ mrenclave, isvSvn, folder, volumes }: KeptFor): string => {
    const open = volumes.length === 0 ? "no open volume needs it" : `for ${volumes.join(", ")}`
    return `${mrenclave.slice(0, 16)}… (version ${isvSvn}, ${mrenclave === running ? "this installation's" : open}; ${folder})`
  }
  const others = kept.some(({ mrenclave }) => mrenclave !== running)
  return {
    id: "kept-images",
    name: "kept enclave images",
    state: kept.length === 0 ? "no" : "info",
    found: kept.length === 0 ? "none" : kept.map(words).join("; "),
    means:
      kept.length === 0
        ? "what is sealed to this enclave opens with the recovery key only after an upgrade of Tresor"
        : "after an upgrade, the enclave that sealed a keyslot hands it to the new one; it has to be here for that",
    remedy:
      kept.length === 0
        ? "let this user write to the state directory"
        : others
          ? "one may be removed when no volume is sealed to it: `tresor dump` shows the MRENCLAVE of each keyslot"
          : null,
  }
}

/** Whose word a seal of policy mrsigner would take. */
function signerCheck({ signers, formerKeys }: Machine, { mrsigner }: EnclaveIdentity): DoctorCheck {
  const holder = signers.get(mrsigner)
  const found = holder === undefined ? "no release key; the build throws its own away" : `release key of ${holder}`
  if (formerKeys.length > 0) {
    return {
      id: "signer",
      name: "signer of the enclave",
      state: "no",
      found: `${found}; an earlier version left ${formerKeys.join(", ")}`,
      means: "whoever reads that key can sign an enclave that opens what was sealed for it (policy mrsigner)",
      remedy: "npm run build: it signs one image with the key, keeps that for your volumes, and removes the key",
    }
  }
  return {
    id: "signer",
    name: "signer of the enclave",
    state: "info",
    found,
    means:
      holder === undefined
        ? "keyslots are sealed to this exact image; after an upgrade `open` asks once whether the new one may open them"
        : "with `--seal-policy mrsigner`, keyslots open in every later image that key signs: its holder is trusted with them",
    remedy: null,
  }
}

function enclaveChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  if (identity instanceof Error) {
    return [
      {
        id: "enclave",
        name: "enclave",
        state: "no",
        found: identity.message,
        means: "nothing works without it",
        remedy: "see the message",
      },
    ]
  }
  const { protected: safe, exposed } = protection(
    identity.backend,
    identity.memory,
    identity.debug,
    machine.secret().keeping,
  )
  const checks: DoctorCheck[] = [
    {
      id: "enclave",
      name: "enclave",
      state: "yes",
      found: `backend ${identity.backend}, ${identity.aes}, KDF memory up to ${formatSize(identity.kdfMemoryKib * 1024)}`,
      means: `protected: ${safe.join("; ")}`,
      remedy: null,
    },
    {
      id: "exposed",
      name: "not protected",
      state: "info",
      found: `backend ${identity.backend}`,
      means: exposed.join("; "),
      remedy: null,
    },
  ]
  checks.push(signerCheck(machine, identity), keptCheck(machine, identity))
  if (identity.backend === "sgx") return checks
  for (const [region, name] of [
    ["keys", "memory of keys"],
    ["stacks", "memory of saved registers"],
    ["heap", "memory of the heap"],
  ] as const) {
    const kind = identity.memory[region]
    const secret = kind === "memfd_secret"
    checks.push({
      id: `memory-${region}`,
      name,
      state: secret ? "yes" : kind === "mlock" ? "info" : "no",
      found: kind,
      means: describeMemory(kind),
      remedy: secret ? null : secretMemoryRemedy(machine.secretMemoryFault),
    })
  }
  return checks
}

const TPM_DEVICE = "/dev/tpmrm0"
/** An attribute of four bytes, then 1 for "on". */
const SECURE_BOOT_VARIABLE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
const SECURE_BOOT = "; Secure Boot is off here, so PCR 7 keeps no other system out"

const secureBoot = (machine: Machine): boolean => machine.read(SECURE_BOOT_VARIABLE)?.at(-1) === "\u0001"

function secretRemedy(keeping: SecretKeeping, tpm: boolean): string | null {
  if (keeping === "tpm2-pin") return null
  if (keeping === "tpm2") return "add a PIN, whose wrong attempts the TPM counts: `tresor machine reseal --pin`"
  const disk = "keep it on another disk than the volumes (TRESOR_STATE_DIR), or encrypt its disk"
  return tpm ? `seal it to this machine's TPM: \`tresor machine enroll --tpm2 --pin\`; or ${disk}` : disk
}

/** What keeps root from the software backend's keys, and where the machine secret is. */
function rootChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  if (identity instanceof Error || identity.backend === "sgx") return []
  const states = { closed: "yes", narrowed: "info", open: "no" } as const
  const facts = readMachine(machine, Object.values(identity.memory).includes("memfd_secret"))
  const judged = judge(facts).map(({ verdict, ...rest }): DoctorCheck => ({ ...rest, state: states[verdict] }))
  const { file, disks, keeping } = machine.secret()
  const secret: DoctorCheck = {
    id: "machine-secret",
    name: "machine secret",
    state: "info",
    found: placeOf(file, disks),
    means: `${secretRisk(null, keeping)}${keeping === "file" || secureBoot(machine) ? "" : SECURE_BOOT}`,
    remedy: secretRemedy(keeping, machine.exists(TPM_DEVICE)),
  }
  return [secret, ...judged]
}

/** Every check of `machine` and of its enclave, or of why that did not start. */
export function examine(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  return [
    ...enclaveChecks(machine, identity),
    ...rootChecks(machine, identity),
    ...sgxChecks(machine, identity),
    ...machineChecks(machine),
  ]
}

/** By reading with it: a file that everybody has. */
async function tryRing(): Promise<string | null> {
  const { ringFault } = await import("../store/disk.ts")
  const { installed } = await import("../base/installation.ts")
  const { PRODUCT } = await import("../enclave/image/files.ts")
  const file = await open(installed(PRODUCT.image))
  try {
    return ringFault(file.fd)
  } finally {
    await file.close()
  }
}

/** Through the addon, which may be what is missing. */
async function askAddon(): Promise<Pick<Machine, Asked>> {
  try {
    const { secretMemoryFault, sgxCpu } = await import("../native/addon.ts")
    const { installationRoot } = await import("../base/installation.ts")
    const { formerKeys } = await import("../enclave/image/former-keys.ts")
    return {
      sgxCpu: sgxCpu(),
      secretMemoryFault: secretMemoryFault(),
      ringFault: await tryRing(),
      signers: releaseSigners(),
      formerKeys: formerKeys(installationRoot),
      kept: await keptFor(),
    }
  } catch {
    return {
      sgxCpu: { sgx: false, launchControl: false, sgx2: false, epcBytes: 0 },
      secretMemoryFault: null,
      ringFault: null,
      signers: new Map(),
      formerKeys: [],
      kept: [],
    }
  }
}

/** The open volumes tell themselves which enclaves their keyslots are sealed to; of closed ones nothing is known. */
async function keptFor(): Promise<readonly KeptFor[]> {
  const { allEntries } = await import("../control/find.ts")
  const { connectVolume } = await import("../control/daemon.ts")
  const { keptImages, keptPlaces } = await import("../enclave/kept-images.ts")
  const users = new Map<string, string[]>()
  for (const { name, owner, live } of allEntries()) {
    if (!live) continue
    try {
      using client = await connectVolume(name, { others: owner !== process.getuid!() })
      const [{ enclave }, { enclaves }] = [await client.status(), await client.call("Predecessors", {})]
      for (const { mrenclave } of [enclave, ...enclaves]) {
        users.set(mrenclave, [...(users.get(mrenclave) ?? []), name])
      }
    } catch {
      // Closed meanwhile, or of a version that has no predecessors.
    }
  }
  const images = new Map(keptImages(keptPlaces()).map((image) => [image.mrenclave, image]))
  return [...images.values()].map((image) => ({ ...image, volumes: users.get(image.mrenclave) ?? [] }))
}

async function identify(): Promise<EnclaveIdentity | Error> {
  try {
    const { openEnclave } = await import("../enclave/loader.ts")
    await using enclave = await openEnclave({ backend: "auto", excuse: () => {} })
    return enclave.identity
  } catch (error) {
    return error as Error
  }
}

/** Looks at this machine. Whatever is missing is a finding, never an error. */
export async function examineMachine(): Promise<readonly DoctorCheck[]> {
  // First, as an enclave that starts is kept.
  const identity = await identify()
  return examine({ ...system, ...(await askAddon()) }, identity)
}
